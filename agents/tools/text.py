"""How tools write what they read: lines of text that an agent can quote, numbers that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

_LONGEST_LINE = 2000


def one_line(text: str, longest: int = _LONGEST_LINE) -> str:
    """The text without line breaks and control characters, cut where it is too long."""
    clean = "".join(char if char.isprintable() else " " for char in text).strip()
    return clean if len(clean) <= longest else f"{clean[:longest]}… ({len(clean) - longest} characters more)"


def capped(lines: Sequence[str], most: int, narrow: str) -> list[str]:
    """The first lines; where there are more, a last one says how many and how to narrow."""
    if len(lines) <= most:
        return list(lines)
    return [*lines[:most], f"… {len(lines) - most} more; narrow with {narrow}"]


def number(value: float) -> str:
    """As a person writes it: whole numbers in full, others to six significant digits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"


def finite(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: for these None, the text tells them."""
    return value if value is not None and math.isfinite(value) else None


def utc(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
