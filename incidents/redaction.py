"""Secrets out of what is kept, sent or logged. What looks like one is replaced before it is stored.

Three kinds: what has the form or the name of a secret (`secret_rules`), what stands in an environment
(`environment`), and what this program was itself told in its settings (`own_secrets`), wherever it appears.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from incidents import environment, secret_rules
from incidents.secret_rules import HIDDEN, NAMES

_SECRET_NAME = re.compile(rf"{NAMES}$", re.IGNORECASE)
_SECRET_FLAG = re.compile(rf"--?[\w-]*{NAMES}", re.IGNORECASE)
RULES = (*environment.RULES, *secret_rules.RULES)
HINTS = tuple(sorted({hint for rule in RULES for hint in rule.hints}))
# Most names and values in JSON are a short word. The shortest secret without one of `:= ` has 19 characters.
_HARMLESS = re.compile(r"[^:=\s]{0,18}\Z")
# Programs with a flag of one letter that takes a password.
_SHORT_FLAGS = {"curl": "-u", "sshpass": "-p", "redis-cli": "-a", "valkey-cli": "-a", "ldapsearch": "-w"}
_GLUED_FLAGS = ("mysql", "mariadb", "sshpass")  # -pSECRET
DEEPEST = 50  # levels of JSON: far more than anybody writes, far less than Python's stack holds
TOO_DEEP = "[nested too deeply]"

_own: tuple[str, ...] = ()


def hide_everywhere(values: Iterable[str]) -> tuple[str, ...]:
    """From now on these texts are replaced wherever they appear; returns what was replaced before.

    The longest come first: one may be a part of another.
    """
    global _own  # set once, at the start: this module must not know the settings
    before, _own = _own, tuple(sorted(set(values), key=lambda value: (-len(value), value)))
    return before


def redact(text: str) -> str:
    """The text with everything that looks like a secret replaced by `[redacted]`."""
    for value in _own:
        if value in text:
            text = text.replace(value, HIDDEN)
    if _HARMLESS.match(text):
        return text
    lowered = text.lower()
    found = [hint for hint in HINTS if hint in lowered]
    for rule in RULES:
        if not rule.hints or not rule.hints.isdisjoint(found):
            text = rule.pattern.sub(rule.replacement, text)
    return text


def clean(text: str) -> str:
    """Redacted, and storable: logs may hold NUL or broken UTF-8, which PostgreSQL refuses."""
    if "\x00" in text or not text.isascii():
        text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return redact(text)


def too_deep(value: Any) -> bool:
    """Whether JSON is nested in more than DEEPEST levels; `clean_tree` leaves out what is below them."""
    level = [value]
    for _ in range(DEEPEST):
        inner = (each.values() if isinstance(each, Mapping) else each for each in level if _holds(each))
        level = [member for members in inner for member in members]
    return any(map(_holds, level))


def _holds(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def clean_tree(value: Any) -> Any:
    """JSON with every string in it cleaned, and every value under a secret's name hidden.

    What is nested too deeply is left out, and TOO_DEEP stands in its place.
    """
    return _clean_tree(value, DEEPEST)


def _clean_tree(value: Any, levels: int) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # Python reads NaN and Infinity from JSON, PostgreSQL does not
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _clean_text(value)
    if not _holds(value):
        return value
    if not levels:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return {clean(str(key)): _clean_member(str(key), each, levels - 1) for key, each in value.items()}
    return _clean_list(value, levels - 1)


def _clean_text(text: str) -> str:
    """A text, which may be JSON itself, as a tool's arguments are: its escapes would hide an environment."""
    if text.startswith("{") and text.endswith("}"):
        try:
            parsed = json.loads(text)
            cleaned = clean_tree(parsed)
        except (ValueError, RecursionError):  # no JSON, or nested deeper than Python calls
            return clean(text)
        if cleaned != parsed:
            return clean(json.dumps(cleaned, ensure_ascii=False))
    return clean(text)


def _clean_member(name: str, value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return HIDDEN if _SECRET_NAME.search(name) else _clean_text(value)
    if name.lower() in environment.SECTIONS:
        value = _without_values(value)
    return _clean_tree(value, levels)


def _without_values(value: Any) -> Any:
    """An environment: `["NAME=value"]`, `{"NAME": "value"}`, or Kubernetes' `[{"name", "value"}]`."""
    if isinstance(value, list | tuple):
        return [environment.pair(each) if isinstance(each, str) else _named(each) for each in value]
    if isinstance(value, Mapping) and all(str(name).isupper() for name in value):
        return {name: each if environment.shown(str(name)) else HIDDEN for name, each in value.items()}
    return value


def _named(value: Any) -> Any:
    if not isinstance(value, Mapping) or "value" not in value or environment.shown(str(value.get("name"))):
        return value
    return {**value, "value": HIDDEN}


def _clean_list(values: Sequence[Any], levels: int) -> list[Any]:
    """A list, which may be a command's words: what follows `--password` is a password."""
    program = values[0].rpartition("/")[2] if values and isinstance(values[0], str) else ""
    cleaned, hide_next = [], False
    for value in values:
        if not isinstance(value, str):
            cleaned.append(_clean_tree(value, levels))
        elif hide_next and not value.startswith("-"):
            cleaned.append(HIDDEN)
        elif value.startswith("-p") and len(value) > 2 and program.startswith(_GLUED_FLAGS):
            cleaned.append(f"-p{HIDDEN}")
        else:
            cleaned.append(_clean_text(value))
        hide_next = isinstance(value, str) and (
            value == _SHORT_FLAGS.get(program) or _SECRET_FLAG.fullmatch(value) is not None
        )
    return cleaned


__all__ = [
    "DEEPEST",
    "HIDDEN",
    "RULES",
    "TOO_DEEP",
    "clean",
    "clean_tree",
    "hide_everywhere",
    "redact",
    "too_deep",
]
