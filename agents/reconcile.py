"""Alertmanager's own list against what deliveries brought: `ALERTMANAGER_URL` alone is an intake.

What no delivery brought is opened: `max_alerts` cuts some off, and what fires while we are down is not sent
again for hours. What is listed no longer is ended, in case its resolve was lost. That is no proof: as with
any resolve, the verdict is the expression's.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents import findings
from agents.tools import alertmanager
from agents.tools.base import ToolError
from incidents import intake, jobs, notifications
from incidents.models import Episode, Incident

JOB = "reconcile"
SOURCE = "alertmanager"
# A delivery may be on its way: Alertmanager waits group_wait before it sends.
GRACE = timedelta(seconds=30)
# A resolve may be on its way too: Alertmanager waits group_interval before it sends.
RESOLVE_GRACE = timedelta(minutes=10)
POLLS = 3  # so many in a row decide; their times are kept


def run() -> dict[str, Any]:
    """One poll, as a job. It keeps when Alertmanager was last asked with success."""
    before = jobs.last_result(JOB)
    first = "polls" not in before
    if settings.ALERTMANAGER_URL is None or (first and not jobs.ran_before("health_check")):
        return before  # the first health check adopts what fires already, together with its own findings
    try:
        listing = alertmanager.listing()
    except ToolError as error:
        return {**before, "error": str(error)}
    now = timezone.now()
    polls = [*map(datetime.fromisoformat, before.get("polls", [])), now][-POLLS:]
    opened = open_missed(listing, quiet=first)
    if first:
        tell_adopted(opened)
    _mark_listed(listing, now)
    ended = _end_unlisted(polls)
    return {"polls": [poll.isoformat() for poll in polls], "opened": opened, "ended": ended}


def open_missed(listing: alertmanager.Listing, *, quiet: bool) -> list[int]:
    """Open active alerts for which no episode is; `quiet` adopts them. Their incidents."""
    # Whatever source brought it: an alert must not open a second incident because it is listed, too.
    mine = Episode.objects.firing().filter(fingerprint__in=[alert.fingerprint for alert in listing.active])
    known = set(mine.values_list("fingerprint", flat=True))
    old = timezone.now() - GRACE
    missed = [alert for alert in listing.active if alert.fingerprint not in known and alert.starts_at < old]
    if not missed:
        return []
    began = timezone.now()
    with transaction.atomic():
        opened = intake.apply_alerts(source=SOURCE, alerts=missed, quiet=quiet)
        fresh = _fingerprints([alert.fingerprint for alert in missed])
        fresh.filter(first_seen_at__gte=began).update(polled=True)
    return opened


def tell_adopted(incidents: list[int]) -> None:
    """One summary of all that fired already when homelab first looked."""
    adopted = list(Incident.objects.filter(pk__in=incidents, adopted=True).order_by("id"))
    if adopted:
        notifications.tell_summary(adopted)


def _fingerprints(some: list[str]) -> QuerySet[Episode]:
    return Episode.objects.firing().filter(source=SOURCE, fingerprint__in=some)


def _mark_listed(listing: alertmanager.Listing, now: datetime) -> None:
    _fingerprints(sorted(listing.fingerprints)).update(listed_at=now)


def _end_unlisted(polls: list[datetime]) -> int:
    """End what was listed once and then was missing from several polls in a row; how many.

    One empty answer is not enough: an Alertmanager that has just started knows nothing until Prometheus has
    sent everything again.
    """
    if len(polls) < POLLS or any(after - before > _gap() for before, after in pairwise(polls)):
        return 0
    missing_twice, missing_thrice = polls[-2], polls[-3]
    delivered = Q(polled=False, listed_at__lt=missing_thrice, last_seen_at__lt=polls[-1] - RESOLVE_GRACE)
    gone = Episode.objects.firing().filter(
        Q(polled=True, listed_at__lt=missing_twice) | delivered, source=SOURCE
    )
    return len(intake.apply_alerts(source=SOURCE, alerts=[findings.over(row) for row in gone]))


def _gap() -> timedelta:
    """More than this between two polls: Alertmanager was away, or we were."""
    return timedelta(seconds=3 * settings.RECONCILE_SECONDS + 10)
