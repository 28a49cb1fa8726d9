"""Quiet hours: when people are not told what can wait. `22:30-07:00, sat,sun 00:00-09:00`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ITEM = re.compile(r"(?:(?P<day>\S+)\s+)?(?P<start>\d\d:\d\d)\s*-\s*(?P<end>\d\d:\d\d)")
_ANY_MONDAY = datetime(2001, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Window:
    """From `start` to `end` on a clock on the wall, beginning on `days` (0 is Monday).

    An `end` that is not later than `start` is of the next day.
    """

    days: frozenset[int]
    start: time
    end: time

    def on(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """The moments in UTC. Where clocks change, an hour that is there twice is in it twice."""
        last = day if self.end > self.start else day + timedelta(days=1)
        ends = [datetime.combine(last, self.end.replace(fold=fold), zone) for fold in (0, 1)]
        start = datetime.combine(day, self.start, zone)
        return start.astimezone(UTC), max(end.astimezone(UTC) for end in ends)


def parse(text: str) -> tuple[Window, ...]:
    """ValueError when it cannot be read, or leaves no moment of the week in which people are told."""
    found: list[Window] = []
    days: list[str] = []
    for item in filter(None, map(str.strip, text.lower().split(","))):
        if (match := _ITEM.fullmatch(item)) is None:
            days.append(item)  # of the hours that follow
            continue
        if match["day"]:
            days.append(match["day"])
        elif days:
            raise ValueError(f"{item!r} follows {', '.join(days)} without hours of its own")
        found.append(_window(days, match["start"], match["end"]))
        days = []
    if days:
        raise ValueError(f"{', '.join(days)}: wants 22:30-07:00, or sat,sun 00:00-09:00")
    windows = tuple(found)
    if windows and quiet_until(windows, _ANY_MONDAY, ZoneInfo("UTC")) == _ANY_MONDAY + WEEK:
        raise ValueError("leaves no time to tell anybody")
    return windows


def _window(days: Iterable[str], start: str, end: str) -> Window:
    clock = [time.fromisoformat("00:00" if text == "24:00" else text) for text in (start, end)]
    if start == "24:00" or start == end:
        raise ValueError(f"{start}-{end}: wants two times of the day, the first before 24:00")
    numbers = frozenset(number for day in days for number in _days(day)) or frozenset(range(7))
    return Window(numbers, clock[0], clock[1])


def _days(text: str) -> list[int]:
    """`sat`, or `mon-fri`."""
    first, _, last = text.partition("-")
    if first not in DAYS or (last or first) not in DAYS:
        raise ValueError(f"{text!r} is none of {', '.join(DAYS)}, nor two of them as mon-fri")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return [number % 7 for number in range(begin, begin + (end - begin) % 7 + 1)]


def quiet_until(windows: Iterable[Window], now: datetime, zone: ZoneInfo) -> datetime | None:
    """When the quiet ends that is now, in UTC, at most a week ahead; None when it is not quiet.

    Windows that touch are one.
    """
    windows, until, limit = tuple(windows), now, now + WEEK
    while until < limit and (later := _end(windows, until, zone)) is not None:
        until = min(later, limit)
    return until.astimezone(UTC) if until > now else None


def _end(windows: Iterable[Window], moment: datetime, zone: ZoneInfo) -> datetime | None:
    """When the window ends, of those around a moment the longest, that it is in."""
    today = moment.astimezone(zone).date()
    begins = (today - timedelta(days=1), today)
    spans = [each.on(day, zone) for each in windows for day in begins if day.weekday() in each.days]
    return max((end for start, end in spans if start <= moment < end), default=None)
