"""Environments of containers and programs: the names are evidence, the values are secrets.

A value is shown when its name is one of a few that never hold a secret. It is redacted all the same.
"""

from __future__ import annotations

import re

from incidents.secret_rules import HIDDEN, Rule, rule

SHOWN = re.compile(
    r"(?:PATH|LANG(?:UAGE)?|LC_\w+|TZ|HOME|HOSTNAME|USER|LOGNAME|PWD|OLDPWD|SHLVL|SHELL|TERM|DISPLAY|_"
    r"|[PG]?UID|[PU]?GID|UMASK|DEBUG|LOG_?LEVEL|NODE_ENV|container|(?:\w+_)?(?:VERSION|PORT|ARCH))",
    re.ASCII,
)
SECTIONS = frozenset({"env", "environ", "environment"})
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UPPER = r"[A-Z_][A-Z0-9_]{0,80}"
# What may stand before a variable in a line: the time of a log line, the words of a shell, a dash of YAML.
_BEFORE = r"[ \t]*+(?:\d{4}-\d\d-\d\d[T ][\d:.,+Z-]++[ \t]++)?+(?:(?:export|declare -x|-)[ \t]++)?+[\"']?"
_LINE = re.compile(rf"^(?P<before>{_BEFORE})(?P<name>{_UPPER})=(?P<value>[^\n]*)", re.MULTILINE)
_ITEM = re.compile(r"(?P<before>\")(?P<name>[A-Za-z_]\w*)=(?P<value>(?:[^\"\\]|\\.)*+)", re.DOTALL)
_MEMBER = re.compile(
    rf"(?P<before>[ \t]++(?:-[ \t]++)?+[\"']?(?P<name>{_UPPER})(?:=|[\"']?:[ \t]))(?P<value>[^\n]*)"
)


def shown(name: str) -> bool:
    """Whether the value of a variable may be seen."""
    return SHOWN.fullmatch(name) is not None


def pair(text: str) -> str:
    """`NAME=value` with its value hidden; a name alone, or what is no variable at all, as it is."""
    name, equals, value = text.partition("=")
    return text if not equals or not value or shown(name) or not NAME.fullmatch(name) else f"{name}={HIDDEN}"


def _hide(match: re.Match[str]) -> str:
    if shown(match["name"]) or not match["value"]:
        return match[0]
    return match[0][: match.start("value") - match.start()] + HIDDEN


# An inspection as JSON, whole or cut off; `printenv` in a log: three lines of it or more, for one NAME=value
# is any program's word; `environment:` of a compose file.
RULES: tuple[Rule, ...] = (
    rule(
        '"env',
        r"\"(?:env|environ|environment)\"\s*:\s*\[(?:\s*\"(?:[^\"\\]|\\.)*+\"?\s*,?)*+",
        lambda match: _ITEM.sub(_hide, match[0]),
        flags=re.IGNORECASE | re.DOTALL,
    ),
    rule(
        "=",
        rf"^{_BEFORE}{_UPPER}=[^\n]*(?:\n{_BEFORE}{_UPPER}=[^\n]*){{2,}}+",
        lambda match: _LINE.sub(_hide, match[0]),
        flags=re.MULTILINE,
    ),
    rule(
        "environment:",
        rf"^[ \t]*+environment:[ \t]*+(?:\n[ \t]++(?:-[ \t]++)?+[\"']?{_UPPER}(?:=|[\"']?:[ \t])[^\n]*)++",
        lambda match: _MEMBER.sub(_hide, match[0]),
        flags=re.MULTILINE,
    ),
)
