"""A moment of the week, by a clock on the wall."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from incidents.weekly import parse

BERLIN = ZoneInfo("Europe/Berlin")


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-11-23 08:00", "2026-11-23 08:00"),  # this very moment
        ("2026-11-23 07:59", "2026-11-16 08:00"),
        ("2026-11-22 23:00", "2026-11-16 08:00"),
        ("2026-11-29 12:00", "2026-11-23 08:00"),
        ("2026-10-26 08:00", "2026-10-26 08:00"),  # the clocks went back the night before
    ],
)
def test_the_last_moment_is_told_by_the_clock_on_the_wall(now: str, last: str) -> None:
    weekly = parse("Mon 08:00")
    assert weekly is not None
    assert weekly.last(berlin(now), BERLIN) == berlin(last)


def test_it_can_be_turned_off() -> None:
    assert parse("off") is None


@pytest.mark.parametrize("text", ["", "monday 08:00", "mon", "mon 8", "mon 24:00", "never"])
def test_what_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"mon 08:00|hour|minute"):
        parse(text)
