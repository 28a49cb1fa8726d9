"""Turns: what every process would do is done by one, and not again for a while. Held in the database.

So any number of beats may tick, and no lock outside the database is needed.
"""

from __future__ import annotations

import time
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from incidents.models import Turn

# A little less than beat's second: one beat never misses its own next tick.
SWEEP_SECONDS = 0.8
HEARTBEAT = "heartbeat:"
HEARTBEAT_SECONDS = 30.0
_next_heartbeat: dict[str, float] = {}  # by part, of this process; time.monotonic()


def take(name: str, *, seconds: float) -> bool:
    """True for one caller, whatever process it is in; then False for everybody for `seconds`."""
    now = timezone.now()
    until = now + timedelta(seconds=seconds)
    if Turn.objects.filter(pk=name, until__lte=now).update(until=until):
        return True
    _, made = Turn.objects.get_or_create(pk=name, defaults={"until": until})
    return made


def taken(name: str) -> bool:
    """Whether somebody took it and its time is not over."""
    return Turn.objects.filter(pk=name, until__gt=timezone.now()).exists()


def give_back(name: str) -> None:
    """End a turn early: its work is done."""
    Turn.objects.filter(pk=name).update(until=timezone.now())


def take_sweep(name: str) -> bool:
    """As `take`. Embedded there is one beat, and a disk must not be woken each second for nothing."""
    return settings.EMBEDDED or take(name, seconds=SWEEP_SECONDS)


def heartbeat(part: str) -> None:
    """Say that a part is at work, at most once in HEARTBEAT_SECONDS: a turn that ends so much later."""
    now = time.monotonic()
    if now >= _next_heartbeat.get(part, now):
        _next_heartbeat[part] = now + HEARTBEAT_SECONDS
        take(HEARTBEAT + part, seconds=HEARTBEAT_SECONDS)
