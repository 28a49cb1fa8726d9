"""When it is quiet, by the clock on the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from incidents.quiet import parse, quiet_until

BERLIN = ZoneInfo("Europe/Berlin")


def until(hours: str, moment: str, zone: ZoneInfo = BERLIN) -> str | None:
    """The end, as the wall shows it, of the quiet at a time that the wall shows."""
    end = quiet_until(parse(hours), datetime.fromisoformat(moment).replace(tzinfo=zone), zone)
    return end.astimezone(zone).strftime("%a %H:%M") if end else None


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-11-23T22:29", None),
        ("2026-11-23T22:30", "Tue 07:00"),
        ("2026-11-24T00:00", "Tue 07:00"),
        ("2026-11-24T06:59", "Tue 07:00"),
        ("2026-11-24T07:00", None),
    ],
)
def test_a_night_crosses_midnight(moment: str, end: str | None) -> None:
    assert until("22:30-07:00", moment) == end


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-11-28T08:00", "Sat 09:00"),
        ("2026-11-29T08:00", "Sun 09:00"),
        ("2026-11-27T08:00", None),
        ("2026-11-27T23:00", "Sat 09:00"),  # the night and the morning after it are one
        ("2026-11-26T23:00", "Fri 07:00"),
    ],
)
def test_days_and_several_windows(moment: str, end: str | None) -> None:
    assert until("22:30-07:00, sat,sun 00:00-09:00", moment) == end


def test_days_name_the_day_on_which_the_hours_begin() -> None:
    assert until("fri 22:00-06:00", "2026-11-28T05:00") == "Sat 06:00"
    assert until("fri 22:00-06:00", "2026-11-27T05:00") is None
    assert until("sat-mon 22:00-24:00", "2026-11-23T23:00") == "Tue 00:00"
    assert until("sun 00:00-24:00", "2026-11-29T12:00") == "Mon 00:00"


@pytest.mark.parametrize(
    ("begins", "hours"),
    [("2026-03-28T22:30", 7.5), ("2026-10-24T22:30", 9.5), ("2026-06-01T22:30", 8.5)],
)
def test_a_night_in_which_clocks_change_ends_when_the_wall_says_so(begins: str, hours: float) -> None:
    start = datetime.fromisoformat(begins).replace(tzinfo=BERLIN)
    end = quiet_until(parse("22:30-07:00"), start, BERLIN)
    assert end == start.astimezone(UTC) + timedelta(hours=hours)
    assert end.astimezone(BERLIN).strftime("%H:%M") == "07:00"


def test_an_hour_that_comes_twice_is_quiet_both_times() -> None:
    window = parse("22:30-02:30")
    first = datetime(2026, 10, 25, 2, 40, tzinfo=BERLIN)  # the wall will show 02:10 again after this
    assert quiet_until(window, first, BERLIN) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_an_end_that_the_clock_skips() -> None:
    """On that night 02:30 is 03:30."""
    window = parse("22:30-02:30")
    start = datetime(2026, 3, 28, 23, 0, tzinfo=BERLIN)
    assert quiet_until(window, start, BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_without_hours_it_is_never_quiet() -> None:
    assert parse("") == ()
    assert until("", "2026-11-23T03:00") is None


@pytest.mark.parametrize(
    "text",
    [
        "22:30",
        "22-7",
        "25:00-07:00",
        "07:00-07:00",
        "24:00-07:00",
        "holiday 22:30-07:00",
        "sat, 22:30-07:00",
        "sat,sun",
        "00:00-24:00",
        "00:00-12:00, 12:00-24:00",
    ],
)
def test_what_cannot_be_read_or_is_always_quiet(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)
