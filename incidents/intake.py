"""From deliveries to episodes to incidents: the transactions. When one of these returns, it is committed.

What an alert means is decided in `episodes`; `batch` reads what that needs and writes what comes of it.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, transaction
from django.utils import timezone

from incidents import episodes, tally, tracing
from incidents.alertmanager import Alert, Webhook
from incidents.batch import Batch, Parcel, Raced
from incidents.context import Origin
from incidents.models import Delivery, Episode, Event, GroupKey, Incident
from incidents.rawinsert import insert
from incidents.tally import Change, one
from incidents.together import Together

logger = logging.getLogger(__name__)
T = TypeVar("T")
RACES = 5
TOGETHER = 50
GATHER_SECONDS = 0.003
FOLD_EACH = 200  # commits of this process
FOLD_LEAST = 1_000
_commits = itertools.count(1)
# PostgreSQL: two transactions waited for each other, and this one was ended.
DEADLOCK = "40P01"


@dataclass(frozen=True)
class Receipt:
    """What became of a delivery; incident ids ascending, without repeats."""

    delivery_id: int
    accepted: int
    quarantined: int
    incidents: list[int]


@dataclass(frozen=True)
class Arrival:
    """A delivery as it came in."""

    source: str
    body: bytes
    webhook: Webhook
    origin: Origin = field(default_factory=tracing.origin)  # another thread may store it


def receive(*, source: str, body: bytes, webhook: Webhook) -> Receipt:
    """Store a delivery and what it means."""
    return _arrivals.one(Arrival(source, body, webhook))


def _receive(arrivals: Sequence[Arrival]) -> list[Receipt]:
    with tracing.on_behalf_of(each.origin for each in arrivals):
        receipts = _unless_raced(lambda: _store(arrivals))
    _fold_sometimes()
    return receipts


def _fold_sometimes() -> None:
    """The sweep of the workers adds the totals up; where they are away, who counts must, too.

    What was received is committed: an error here is none of its sender's.
    """
    if next(_commits) % FOLD_EACH == 0:
        try:
            tally.fold(FOLD_LEAST)
        except DatabaseError as error:
            logger.warning("the totals were not added up: %s", error)


def _unless_raced(work: Callable[[], T]) -> T:
    """Look again when two senders delivered the same new alert at once, or its incident was closed."""
    for _ in range(RACES - 1):
        try:
            return work()
        except (IntegrityError, Raced):
            continue
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != DEADLOCK:
                raise
    return work()


@transaction.atomic
def _store(arrivals: Sequence[Arrival]) -> list[Receipt]:
    deliveries = [
        Delivery(
            source=each.source,
            body=each.body,
            alerts=len(each.webhook.alerts),
            quarantined=list(each.webhook.quarantined),
        )
        for each in arrivals
    ]
    insert(deliveries)
    parcels = [
        Parcel(each.source, each.webhook.alerts, each.webhook.group_key, origin=each.origin)
        for each in arrivals
    ]
    _apply(parcels, [change for each in arrivals for change in _counted(each)])
    return [
        Receipt(delivery.pk, len(each.webhook.alerts), len(each.webhook.quarantined), parcel.incidents)
        for delivery, each, parcel in zip(deliveries, arrivals, parcels, strict=True)
    ]


def _counted(arrival: Arrival) -> list[Change]:
    quarantined = len(arrival.webhook.quarantined)
    outcome = "partly" if quarantined else "accepted"
    lost = [one("alerts", arrival.source, "quarantined", times=quarantined)] if quarantined else []
    return [one("deliveries", arrival.source, outcome), *lost]


_arrivals: Together[Arrival, Receipt] = Together(
    _receive,
    most=TOGETHER,
    gather=GATHER_SECONDS,
    hopeless=(OperationalError, InterfaceError),  # away or locked: it would be so for each alone
)


@transaction.atomic(savepoint=False)
def apply_alerts(
    *,
    source: str,
    alerts: Sequence[Alert],
    group_key: str = "",
    quiet: bool = False,
    beside: int | None = None,
) -> list[int]:
    """Upsert the episodes of alerts that no delivery brought; the ids of their incidents.

    `quiet`: adopt what fires already. `beside`: an incident that has other alerts of the same group.
    """
    parcel = Parcel(source, alerts, group_key, quiet, beside)
    _apply([parcel])
    return parcel.incidents


def _apply(parcels: Sequence[Parcel], counted: Sequence[Change] = ()) -> None:
    batch = Batch(parcels, timezone.now(), counted=list(counted))
    episodes.apply(batch)
    batch.flush()


@transaction.atomic
def settle_contested(episode: Episode, *, active: bool, how: str) -> None:
    """Decide a contested episode: reopen it and its incident, or leave it ended."""
    # As it is now: while somebody was asked, its incident may have got its verdict, or it a successor.
    parcel = Parcel(episode.source, (), _last_group_key(episode.incident))
    batch = Batch([parcel], timezone.now())
    found = next(iter(batch.locked(Episode.objects.contested().filter(pk=episode.pk))), None)
    if found is None:
        return
    later = Episode.objects.filter(source=found.source, fingerprint=found.fingerprint, pk__gt=found.pk)
    active = active and not later.exists()
    said = "is active" if active else "is not active"
    batch.event(found.incident, Event.Kind.CONTESTED, parcel.source, f"{found.title} {said}: {how}")
    found.contested_at = None
    batch.change(found)
    if active:
        _revive(batch, parcel, found)
    batch.flush()


def _last_group_key(incident: Incident | None) -> str:
    """So that of a group of contested alerts, the first opens an incident and the others join it."""
    keys = GroupKey.objects.filter(incident=incident).order_by("-id") if incident else GroupKey.objects.none()
    last = keys.first()
    return last.group_key if last else ""


def _revive(batch: Batch, parcel: Parcel, old: Episode) -> None:
    """A contested alert is active: the episode goes on, or a new one in another incident."""
    alert, previous = episodes.as_alert(old), old.incident
    batch.load_places([(parcel, alert)])
    new = episodes.new_episode(batch, parcel, alert)
    new.target = old.target or batch.targets.get(parcel.key(alert))
    if not alert.is_watchdog:
        episodes.place(batch, parcel, alert, new, previous)
    if previous is None or new.incident == previous:
        old.ends_at, old.incident, old.target = None, new.incident, new.target
        return
    episodes.leave(batch, old, next_start=batch.now)  # what a closed incident had stays with it
    batch.created.append(new)
