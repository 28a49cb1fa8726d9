"""Webhooks as they should not be: real ones mutated, and what a hand can think of."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from tests.conftest import GOLDEN

Path = tuple[str | int, ...]
REAL: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_bytes())
    for path in sorted(GOLDEN.glob("*.json"))
    if "alerts" in json.loads(path.read_bytes())
}
DEEP = 100_000
KNOWN = "jellyfin"  # a container of the inventory
TIMES = (
    "0001-01-01T00:00:00Z",
    "0001-12-31T23:59:59-23:59",
    "0002-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999999999Z",
    "2016-12-31T23:59:60Z",
    "2026-02-30T00:00:00Z",
    "2026-11-23T04:00:00.123456789Z",
    "2026-11-23T04:00:00+23:59",
    "2026-11-23T04:00:00+99:99",
    "2026-11-23 04:00:00z",
    "2026-11-23T04:00:00",
    "2026-W48-1T04:00:00Z",
    "9998-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999-23:59",
    "٢٠٢٦-11-23T04:00:00Z",
    "1764000000",
)
TEXTS = (
    "",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "\ufeff",
    "\u202egnp.exe",
    "🜚" * 300,
    "x" * 201,
    "x" * 100_000,
    "' OR 1=1; --",
    "{{ 7 * 7 }}<script>%s%n${jndi:ldap://x}",
    "../../etc/passwd",
    "\r\nSet-Cookie: a=b",
    "firing",
    "resolved",
    KNOWN,
    *TIMES,
)
NUMBERS = (0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, -0.0, 5e-324, True)
NESTED: tuple[Any, ...] = (
    json.loads("[" * 200 + "]" * 200),
    json.loads('{"a":' * 200 + "null" + "}" * 200),
)
STRUCTURES: tuple[Any, ...] = (
    None,
    [],
    {},
    [None],
    {"": ""},
    {"alertname": "Down", "container": KNOWN},
    {"alertname": None},
    {"a\x00": "b"},
    {"\ud800": "b"},
    {f"label{n}": "x" * 50 for n in range(2000)},
    {"alertname": "x" * 1_000_000},
    *NESTED,
)
VALUES = st.one_of(st.sampled_from([*TEXTS, *NUMBERS]), st.sampled_from(STRUCTURES), st.text(max_size=40))
# In the text itself, for no value of Python's would be written so.
LITERALS = (b"1e400", b"-1e400", b"NaN", b"Infinity", b"9" * 5000, b"1E+9999", b"0x10", b"'x'", b"\xff\xfe")
# Texts on which a careless pattern takes minutes.
ENDLESS = ("x", "a.", "a-", "http://a:", "x:", "curl ", "-eyJa", "token=", "-----BEGIN PRIVATE KEY-----")


def telling(text: str) -> bytes:
    """A critical alert with this description."""
    alert = {
        "status": "firing",
        "labels": {"alertname": "Down", "severity": "critical"},
        "annotations": {"description": text},
        "startsAt": "2026-11-23T04:00:00Z",
    }
    return json.dumps({"alerts": [alert]}).encode()


BODIES: tuple[bytes, ...] = (
    *(telling(text * (100_000 // len(text))) for text in ENDLESS),
    b"",
    b"\x00",
    b"null",
    b"[]",
    b'"alerts"',
    b"1e400",
    b"{" * DEEP,
    b"[" * DEEP,
    b'{"alerts":' + b"[" * DEEP + b"]" * DEEP + b"}",
    b'{"alerts":[' + b'{"labels":' * DEEP + b"1" + b"}" * DEEP + b"]}",
    b'{"alerts":[' + b"{}," * 20_000 + b"{}]}",
    b'{"alerts":[' + b"0," * 100_000 + b"0]}",
    b'{"alerts":[],"alerts":[null]}',
    json.dumps({"alerts": []}).encode("utf-16"),
    b"\xef\xbb\xbf" + json.dumps({"alerts": []}).encode(),
    b'{"alerts":[{"status":"firing","labels":{"a":"\xc3\x28"}}]}',
    b'{"alerts":[{"status":"firing","labels":{"a":"\\ud83d"},"startsAt":"2026-11-23T04:00:00Z"}]}',
    b'{"alerts":[],"truncatedAlerts":1e400}',
    b'{"alerts":[],"groupKey":' + b"9" * 5000 + b"}",
    b"PK\x03\x04" + bytes(range(256)) * 40,
)


def paths(value: Any, here: Path = ()) -> list[Path]:
    """Where every part of a JSON value is."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [here] + [path for key in keys for path in paths(value[key], (*here, key))]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A real webhook with one to six things wrong, most of them in its alerts."""
    payload = copy.deepcopy(REAL[draw(st.sampled_from(sorted(REAL)))])
    for _ in range(draw(st.integers(0, 3))):
        payload["alerts"].append(copy.deepcopy(draw(st.sampled_from(payload["alerts"]))))
    for _ in range(draw(st.integers(1, 6))):
        within = [path for path in paths(payload) if len(path) > 1 and path[0] == "alerts"]
        mutate(draw, payload, draw(st.sampled_from([(), *within])))
    return payload


def mutate(draw: st.DrawFn, payload: Any, path: Path) -> None:
    """Put something else at a place, or take it away; at the place () among the top keys."""
    if not path:
        path = (draw(st.sampled_from(["truncatedAlerts", "version", "groupKey", "receiver", "more"])),)
    for key in path[:-1]:
        payload = payload[key]
    if draw(st.integers(0, 4)) == 0 and path[-1] in (payload if isinstance(payload, dict) else ()):
        del payload[path[-1]]
    else:
        payload[path[-1]] = copy.deepcopy(draw(VALUES))


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """The bytes of a webhook: written in one of the ways there are, sometimes broken on the way."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(st.sampled_from(BODIES), st.binary(max_size=200)))
    escaped = draw(st.booleans())
    text = json.dumps(draw(mutated()), ensure_ascii=escaped)
    body = text.encode("utf-8", "surrogatepass")  # without escapes, half a character is no UTF-8
    if draw(st.integers(0, 7)):
        return body
    cut = draw(st.integers(0, len(body)))
    return draw(
        st.sampled_from([body[:cut], body[:cut] + draw(st.sampled_from(LITERALS)) + body[cut:], body * 2])
    )
