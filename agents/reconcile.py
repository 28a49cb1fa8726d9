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

from agents import findings, proof
from agents.contested import LAG
from agents.reading import ExpressionState
from agents.tools import alertmanager
from agents.tools.base import ToolError
from incidents import intake, jobs, notifications, services, tally, turns
from incidents.alertmanager import DEFAULT_SOURCE, Alert
from incidents.models import Delivery, Episode, Incident, Verdict

JOB = "reconcile"
# A delivery may be on its way: Alertmanager waits group_wait before it sends a group, and group_interval
# before it sends what came to the group later. Where nothing was ever delivered, nothing is waited for.
GRACE = timedelta(minutes=6)
GRACE_WITHOUT_DELIVERIES = timedelta(seconds=30)
# A resolve may be on its way too: Alertmanager waits group_interval before it sends.
RESOLVE_GRACE = timedelta(minutes=10)
POLLS = 3  # so many in a row decide; their times are kept
# These verdicts say that the alert is over. A person says so before it shows.
OVER = (*services.PROVED, Verdict.FALSE_ALARM, Verdict.RESOLVED_BY_HUMAN)
ASKED = 20  # so many that are listed after their verdict are asked about in one poll


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
    turns.heartbeat("reconciliation")
    now = timezone.now()
    polls = [*map(datetime.fromisoformat, before.get("polls", [])), now][-POLLS:]
    with transaction.atomic():  # what is adopted is told, or adopted again
        opened = open_missed(listing, quiet=first)
        if first:
            tell_adopted(opened)
    contest_relapsed(listing)
    _mark_listed(listing, now)
    ended = _end_unlisted(polls)
    return {"polls": [poll.isoformat() for poll in polls], "opened": opened, "ended": ended}


@transaction.atomic
def open_missed(listing: alertmanager.Listing, *, quiet: bool) -> list[int]:
    """Open active alerts for which no episode is; `quiet` adopts them. Their incidents.

    Alerts about this program are left out: they are routed past it on purpose. One of them fires because of
    what is found here, and would be found itself.
    """
    # Whatever source brought it: an alert must not open a second incident because it is listed, too.
    fingerprints = [alert.fingerprint for alert in listing.active]
    rows = Episode.objects.firing().filter(fingerprint__in=fingerprints).select_related("incident")
    known = {row.fingerprint: row for row in rows.order_by("-id")}
    grace = GRACE if Delivery.objects.exists() else GRACE_WITHOUT_DELIVERIES
    old = timezone.now() - grace
    opened: set[int] = set()
    for key, group in listing.groups.items():
        missed = [
            alert
            for alert in group
            if alert.starts_at < old
            and not alert.is_about_us
            and _is_missed(alert, known.get(alert.fingerprint))
        ]
        if missed:
            here = [known[alert.fingerprint] for alert in group if alert.fingerprint in known]
            opened.update(_open_group(key, missed, here, quiet=quiet))
    return sorted(opened)


def _is_missed(alert: Alert, known: Episode | None) -> bool:
    """No episode is of it; or it fires anew, and nobody said that it had ended before its verdict."""
    if known is None:
        return True
    closed = known.incident is not None and known.incident.status == Incident.Status.CLOSED
    return closed and known.source == DEFAULT_SOURCE and alert.starts_at > known.starts_at


def contest_relapsed(listing: alertmanager.Listing) -> list[int]:
    """Contest what is listed on after its verdict, as a delivery of it would; the incidents."""
    active = {alert.fingerprint: alert for alert in listing.active}
    rows = _fingerprints(list(active)).filter(contested_at=None, incident__verdict__in=OVER)
    again = [
        active[row.fingerprint]
        for row in rows.select_related("incident").order_by("-incident__closed_at")[:ASKED]
        if active[row.fingerprint].starts_at <= row.starts_at and _has_relapsed(row)
    ]
    return intake.apply_alerts(source=DEFAULT_SOURCE, alerts=again)


def _has_relapsed(episode: Episode) -> bool:
    """Whether its expression is true again; where nobody can read that, the list must have had its time."""
    incident = episode.incident
    assert incident is not None
    assert incident.closed_at is not None
    is_late = timezone.now() - incident.closed_at > LAG
    state = proof.observe_episode(episode).state
    if state is ExpressionState.FIRING:
        return is_late or incident.verdict != Verdict.RESOLVED_BY_HUMAN
    return state is ExpressionState.UNKNOWN and is_late


def _open_group(key: str, missed: list[Alert], here: list[Episode], *, quiet: bool) -> list[int]:
    """Open alerts of one group, in the incident of those of the group that somebody brought already."""
    open_now = [row.incident for row in here if row.incident and row.incident.verdict is None]
    beside = min((incident.pk for incident in open_now), default=None)
    began = timezone.now()
    opened = intake.apply_alerts(
        source=DEFAULT_SOURCE, alerts=missed, group_key=key, quiet=quiet, beside=beside
    )
    if not quiet:
        tally.add([tally.one("reconciled", "found", times=len(missed))])
    fresh = _fingerprints([alert.fingerprint for alert in missed])
    fresh.filter(first_seen_at__gte=began).update(polled=True, listed_at=began)
    return opened


def tell_adopted(incidents: list[int]) -> None:
    """One summary of all that fired already when homelab first looked."""
    adopted = list(Incident.objects.filter(pk__in=incidents, adopted=True).order_by("id"))
    if adopted:
        notifications.tell_summary(adopted)


def _fingerprints(some: list[str]) -> QuerySet[Episode]:
    return Episode.objects.firing().filter(source=DEFAULT_SOURCE, fingerprint__in=some)


def _mark_listed(listing: alertmanager.Listing, now: datetime) -> None:
    listed = _fingerprints(sorted(listing.fingerprints))
    listed.update(listed_at=now)
    listed.filter(polled=True).update(last_seen_at=now)  # the only news of it there is: also of a watchdog


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
        Q(polled=True, listed_at__lt=missing_twice) | delivered, source=DEFAULT_SOURCE
    )
    alerts = [findings.over(row) for row in gone]
    with transaction.atomic():
        tally.add([tally.one("reconciled", "ended", times=len(alerts))])
        return len(intake.apply_alerts(source=DEFAULT_SOURCE, alerts=alerts))


def _gap() -> timedelta:
    """More than this between two polls: Alertmanager was away, or we were."""
    return timedelta(seconds=3 * settings.RECONCILE_SECONDS + 10)
