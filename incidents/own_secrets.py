"""The secrets that this program was told in its settings. They are replaced wherever they appear.

Django knows settings by name, so what is new is found by its name, too: KEY, TOKEN, PASSWORD, SECRET, or a
URL that has a password in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

SHORTEST = 8  # what is shorter may be any word
LONG = 16
_SECRET = re.compile(r"(?:^|_)(?:KEY|KEYS|TOKEN|PASSWORD|SECRET|KEY_FALLBACKS)$")
# Settings whose URLs are secrets as a whole: who knows them can write to the chat, or ping.
_ADDRESSES = ("NOTIFY_URLS", "ESCALATION_URLS", "HEARTBEAT_URL")

_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS",)  # name=value,name=value; of `Bearer TOKEN` the token


def own_secrets(settings: Any) -> set[str]:
    """Every secret in the settings, of at least 8 characters, also as URLs and JSON write it."""
    found: set[str] = set()
    for name in dir(settings):
        if name.isupper():
            found.update(_of(name, getattr(settings, name)))
    return {spelling for secret in found if len(secret) >= SHORTEST for spelling in _spellings(secret)}


def _of(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):  # DATABASES, DOCKER_HOSTS
        for key, each in value.items():
            if not _is_no_secret(str(key), each, value):
                yield from _of(str(key), each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _of(name, each)
    elif isinstance(value, str) and value:
        if name in _HEADERS:
            yield from (unquote(each.partition("=")[2]).rpartition(" ")[2] for each in value.split(","))
        if _SECRET.search(name.upper()):
            yield value
        elif "://" in value:
            yield from _of_url(value, whole=name in _ADDRESSES)


def _is_no_secret(key: str, value: Any, beside: dict[Any, Any]) -> bool:
    """A password that is also the user's or the database's name: hiding it would cross out that name."""
    return key == "PASSWORD" and value in (beside.get("USER"), beside.get("NAME"), beside.get("HOST"))


def _of_url(url: str, *, whole: bool) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        user, password = parts.username or "", parts.password or ""
    except ValueError:
        return
    if password not in (user, parts.path.strip("/")):
        yield unquote(password)
    if not whole:
        return
    yield url
    host = parts.netloc.rpartition("@")[2]
    # pover://user@token, tgram://token/chat: a token may stand where others have a host
    if ":" in host and not host.rpartition(":")[2].isdigit():
        yield host
    pieces = [host, *parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
    yield from (unquote(piece) for piece in pieces if _looks_made(piece))


def _looks_made(piece: str) -> bool:
    """A token rather than a word, a host or an address: long, or mixed, and without a dot."""
    mixed = any(map(str.isdigit, piece)) and piece != piece.lower()
    return "." not in piece and "@" not in piece and ":" not in piece and (len(piece) >= LONG or mixed)


def _spellings(secret: str) -> Iterable[str]:
    written = json.dumps(secret)[1:-1]
    return {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), written}
