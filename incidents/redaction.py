"""Secrets out of what is kept, sent or logged. What looks like one is replaced before it is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[redacted]"
# How names of secrets end: DB_PASSWORD, api_key, csrf-token; but not `tokens: 512` or `author: me`.
_NAMES = (
    r"(?:pass|password|passwd|passphrase|secret|token|credentials?|authorization|auth"
    r"|(?:api|access|private|secret|encryption)[_-]?key)"
)
_SECRET_NAME = re.compile(rf"{_NAMES}$", re.IGNORECASE)
# Strangers write these texts, some of a megabyte: no pattern may begin at every character and then run on.
PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # a private key, whole, or cut off
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        HIDDEN,
    ),
    # user:password@ in a URL; a password may hold an @ of its own, so up to the last one
    (
        re.compile(r"(?P<keep>\b[a-z][a-z0-9+.-]{0,30}://)[^\s/@:]*:[^\s/]*@", re.IGNORECASE),
        rf"\g<keep>{HIDDEN}@",
    ),
    # Authorization: Bearer …, Basic …
    (
        re.compile(r"(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
        rf"\g<keep>{HIDDEN}",
    ),
    # password: |  with its value in the next line
    (
        re.compile(rf"(?P<keep>{_NAMES}\s*:\s*[|>][+-]?[ \t]*\n\s*)[^\n]+", re.IGNORECASE),
        rf"\g<keep>{HIDDEN}",
    ),
    # password=…, "api_key": "…", TOKEN: …
    (
        re.compile(
            rf"(?P<keep>{_NAMES}[\"']?\s*[=:]\s*)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&\"']+)",
            re.IGNORECASE,
        ),
        rf"\g<keep>{HIDDEN}",
    ),
    # --password X, --api-key=X, curl -u user:X
    (
        re.compile(rf"(?P<keep>(?<!\S)--?[\w-]*{_NAMES}[ =]+)(?:\"[^\"\n]*\"|'[^'\n]*'|\S+)", re.IGNORECASE),
        rf"\g<keep>{HIDDEN}",
    ),
    (re.compile(r"(?P<keep>\bcurl\b(?:(?!\bcurl\b)[^\n])*?\s(?:-u|--user)[ =]?)\S+"), rf"\g<keep>{HIDDEN}"),
    (re.compile(r"(?P<keep>\b(?:set-)?cookie:\s*)[^\n]+", re.IGNORECASE), rf"\g<keep>{HIDDEN}"),
    # addresses that are keys themselves
    (re.compile(r"(?P<keep>\bdiscord(?:app)?\.com/api/webhooks/\d+/)[\w-]+"), rf"\g<keep>{HIDDEN}"),
    (re.compile(r"(?P<keep>\bhooks\.slack\.com/services/)[\w/]+"), rf"\g<keep>{HIDDEN}"),
    (re.compile(r"(?P<keep>/bot)\d{8,10}:[A-Za-z0-9_-]{35}"), rf"\g<keep>{HIDDEN}"),
    # user:hash of htpasswd, as in traefik's basicauth.users
    (re.compile(r"(?P<keep>[\w.@-]:)\$(?:apr1|2[aby]|[156])\$[^\s,\"']+"), rf"\g<keep>{HIDDEN}"),
    # tokens that announce themselves
    (re.compile(r"\b(?:sk|hl|ghp|gho|glpat|xox[abprs])[-_][A-Za-z0-9_-]{16,}"), HIDDEN),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"\b\d{8,10}:[A-Za-z0-9_-]{35}\b"), HIDDEN),
)


# Most names and values in JSON are a short word. The shortest secret without one of `:= ` has 19 characters.
_HARMLESS = re.compile(r"[^:=\s]{0,18}\Z")


def redact(text: str) -> str:
    """The text with everything that looks like a secret replaced by `[redacted]`."""
    if _HARMLESS.match(text):
        return text
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def clean(text: str) -> str:
    """Redacted, and storable: logs may hold NUL or broken UTF-8, which PostgreSQL refuses."""
    storable = text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return redact(storable)


def clean_tree(value: Any) -> Any:
    """JSON with every string in it cleaned, and every value under a secret's name hidden."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(key)): _clean_member(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [clean_tree(each) for each in value]
    return value


def _clean_member(name: str, value: Any) -> Any:
    if isinstance(value, str) and _SECRET_NAME.search(name):
        return HIDDEN
    return clean_tree(value)
