"""A moment of the week, `mon 08:00` by TZ: when the week is told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from incidents.quiet import DAYS

OFF = "off"
_MOMENT = re.compile(r"(?P<day>[a-z]{3})\s+(?P<at>\d\d:\d\d)")


@dataclass(frozen=True)
class Weekly:
    """A day (0 is Monday) and a time on a clock on the wall."""

    day: int
    at: time

    def last(self, now: datetime, zone: ZoneInfo) -> datetime:
        """When it was last, in UTC; this very moment included."""
        today = now.astimezone(zone).date()
        date = today - timedelta(days=(today.weekday() - self.day) % 7)
        moment = datetime.combine(date, self.at, zone).astimezone(UTC)
        if moment <= now:
            return moment
        return datetime.combine(date - timedelta(days=7), self.at, zone).astimezone(UTC)


def parse(text: str) -> Weekly | None:
    """None for `off`; ValueError when it cannot be read."""
    text = text.strip().lower()
    if text == OFF:
        return None
    match = _MOMENT.fullmatch(text)
    if match is None or match["day"] not in DAYS:
        raise ValueError(f"{text!r} is neither a day with a time, as mon 08:00, nor {OFF}")
    return Weekly(DAYS.index(match["day"]), time.fromisoformat(match["at"]))
