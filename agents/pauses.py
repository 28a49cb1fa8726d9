"""The brakes: while a pause holds, `authorize()` refuses every change in its scope.

A scope with a typing error would be a brake that does not brake.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.models import MaintenanceWindow, Pause
from incidents import events
from incidents.models import Event, Target
from incidents.redaction import clean

HOST_PREFIX = "host:"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class UnknownScope(ValueError):
    """No target and no host of the inventory is called so; the message says what is wanted."""


def check_scope(scope: str) -> str:
    """The scope, when it is `*`, `host:NAME` of a known host, or a target's key; else UnknownScope."""
    if scope == Pause.EVERYTHING:
        return scope
    if scope.startswith(HOST_PREFIX):
        known = Target.objects.filter(host=scope.removeprefix(HOST_PREFIX)).exists()
    else:
        known = Target.objects.filter(key=scope).exists()
    if not known:
        raise UnknownScope(f"{scope!r} is not in the inventory; wants a target's key, host:NAME, or *")
    return scope


def in_force() -> QuerySet[Pause]:
    """Pauses that hold at this moment, the latest first."""
    still = Q(until=None) | Q(until__gt=timezone.now())
    return Pause.objects.filter(still, lifted_at=None).order_by("-id")


def reason(target: Target, now: datetime) -> str | None:
    """The words of a pause or a maintenance window that covers this target now, or None."""
    scopes = (target.key, f"{HOST_PREFIX}{target.host}", Pause.EVERYTHING)
    pause = in_force().filter(scope__in=scopes).first()
    if pause is not None:
        until = f"until {pause.until:%Y-%m-%d %H:%M} UTC" if pause.until else "until it is lifted"
        said = f": {pause.reason}" if pause.reason else ""
        return f"{pause.scope} is paused by {pause.by} {until}{said}"
    windows = MaintenanceWindow.objects.filter(scope__in=scopes, ended_at=None)
    return next((f"it is {window}" for window in windows if is_open(window, now)), None)


def is_open(window: MaintenanceWindow, now: datetime) -> bool:
    """Whether a window holds at a moment: it may have begun the day before."""
    local = now.astimezone(ZoneInfo(settings.TIME_ZONE))
    for days_ago in (0, 1):
        begins = datetime.combine(local.date() - timedelta(days=days_ago), window.starts, local.tzinfo)
        on_this_day = not window.days or DAYS[begins.weekday()] in window.days
        if on_this_day and begins <= local < begins + timedelta(minutes=window.minutes):
            return True
    return False


@transaction.atomic
def open_window(
    *, scope: str, days: Collection[str], starts: time, minutes: int, by: str, reason: str
) -> MaintenanceWindow:
    """A time of the week in which nothing is changed in a scope; `days` of DAYS, none for every day."""
    row = MaintenanceWindow.objects.create(
        scope=scope, days=list(days), starts=starts, minutes=minutes, by=by, reason=clean(reason)
    )
    events.record(None, Event.Kind.PAUSED, by, f"{row}", {"window": row.pk, "reason": reason})
    return row


@transaction.atomic
def end_window(row: MaintenanceWindow, *, by: str) -> bool:
    """From now on it holds no more; False when it was ended before."""
    won = MaintenanceWindow.objects.filter(pk=row.pk, ended_at=None).update(ended_at=timezone.now())
    if won:
        events.record(None, Event.Kind.RESUMED, by, f"ended: {row}", {"window": row.pk})
    return bool(won)


@transaction.atomic
def pause(*, scope: str, until: datetime | None, by: str, reason: str) -> Pause:
    row = Pause.objects.create(scope=scope, until=until, by=by, reason=clean(reason))
    events.record(None, Event.Kind.PAUSED, by, f"paused {scope}", {"pause": row.pk, "reason": reason})
    return row


@transaction.atomic
def lift(row: Pause, *, by: str) -> bool:
    """From now on it holds no more; False when it was lifted before."""
    won = Pause.objects.filter(pk=row.pk, lifted_at=None).update(lifted_at=timezone.now())
    if won:
        events.record(None, Event.Kind.RESUMED, by, f"lifted the pause of {row.scope}", {"pause": row.pk})
    return bool(won)
