"""The brakes: while a pause holds, `authorize()` refuses every change in its scope.

A scope with a typing error would be a brake that does not brake.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.models import Pause
from incidents import services as incident_services
from incidents.models import Event, Target

HOST_PREFIX = "host:"


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


@transaction.atomic
def pause(*, scope: str, until: datetime | None, by: str, reason: str) -> Pause:
    row = Pause.objects.create(scope=scope, until=until, by=by, reason=reason)
    incident_services.record(
        None, Event.Kind.PAUSED, by, f"paused {scope}", {"pause": row.pk, "reason": reason}
    )
    return row


@transaction.atomic
def lift(row: Pause, *, by: str) -> None:
    if Pause.objects.filter(pk=row.pk, lifted_at=None).update(lifted_at=timezone.now()):
        incident_services.record(
            None, Event.Kind.RESUMED, by, f"lifted the pause of {row.scope}", {"pause": row.pk}
        )
