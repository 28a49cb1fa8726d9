"""Secrets out of what is kept, sent or logged. What looks like one is replaced before it is stored."""

from __future__ import annotations

import re

HIDDEN = "[redacted]"
_NAMES = (
    r"(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|auth)"
)
PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # a private key, whole
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL), HIDDEN),
    # user:password@ in a URL; a password may hold an @ of its own, so up to the last one
    (re.compile(r"(?P<keep>\b[a-z][a-z0-9+.-]*://)[^\s/@]*:[^\s/]*@", re.IGNORECASE), rf"\g<keep>{HIDDEN}@"),
    # Authorization: Bearer …, Basic …
    (
        re.compile(r"(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
        rf"\g<keep>{HIDDEN}",
    ),
    # password=…, "api_key": "…", TOKEN: …
    (
        re.compile(
            rf"(?P<keep>\b[\w.-]*{_NAMES}[\w.-]*[\"']?\s*[=:]\s*)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&\"']+)",
            re.IGNORECASE,
        ),
        rf"\g<keep>{HIDDEN}",
    ),
    # tokens that announce themselves
    (re.compile(r"\b(?:sk|hl|ghp|gho|glpat|xox[abprs])[-_][A-Za-z0-9_-]{16,}"), HIDDEN),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"\b\d{8,10}:[A-Za-z0-9_-]{35}\b"), HIDDEN),
)


def redact(text: str) -> str:
    """The text with everything that looks like a secret replaced by `[redacted]`."""
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def clean(text: str) -> str:
    """Redacted, and storable: logs may hold NUL or broken UTF-8, which PostgreSQL refuses."""
    storable = text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return redact(storable)
