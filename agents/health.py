"""The scheduled check: what nobody alerted about, by the same road as any alert.

Findings: scrape targets down, containers unhealthy or restarting, and firing alerts that no delivery
brought. "No issues" opens nothing; an integration that does not answer resolves nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from agents import cases, findings, reconcile
from agents.promql import quote
from agents.tools import alertmanager
from agents.tools.base import ToolError
from agents.tools.prometheus_client import Prometheus, Target
from incidents import intake, jobs
from incidents.alertmanager import Alert, is_watchdog_name
from incidents.models import Episode

logger = logging.getLogger(__name__)
SOURCE = "health-check"
AGAIN_SECONDS = 30.0  # while something does not answer: people look whether it is back
# What ends a finding, by who found it: the key of its episode's condition.
CONDITIONS = {"prometheus": "expression", "docker": "container", "watchdog": "watchdog"}


def every(result: dict[str, Any]) -> float:
    """Seconds until the next check."""
    usual: float = settings.HEALTH_CHECK_SECONDS
    return min(usual, AGAIN_SECONDS) if result["errors"] else usual


def run() -> dict[str, Any]:
    """Check everything once; counts of findings, and the errors by integration."""
    first = not jobs.ran_before("health_check")
    errors: dict[str, str] = {}
    all_found: dict[str, list[Alert]] = {}
    for name, look in LOOKS.items():
        try:
            found = look()
        except ToolError as error:
            errors[name] = str(error)
            continue
        if found is not None:
            all_found[name] = found
    listing = _listing(errors)
    with transaction.atomic():  # what is adopted is told, or adopted again
        opened = [pk for name, found in all_found.items() for pk in _report(name, found, quiet=first)]
        if listing is not None:
            opened += reconcile.open_missed(listing, quiet=first)
        if first:
            reconcile.tell_adopted(opened)
    counts = {name: len(found) for name, found in all_found.items()}
    return {"findings": counts, "incidents": sorted(set(opened)), "errors": errors}


def _targets_down() -> list[Alert] | None:
    if settings.PROMETHEUS_URL is None:
        return None
    down = [target for target in Prometheus(settings.PROMETHEUS_URL).targets() if target.health == "down"]
    return [_target_down(target) for target in down if not _alerted(target.labels)]


def _target_down(target: Target) -> Alert:
    labels = {**target.labels, "alertname": "TargetDown", "severity": "warning"}
    matchers = ", ".join(
        f"{name}={quote(target.labels[name])}" for name in ("job", "instance") if name in target.labels
    )
    why = target.last_error or "no reason given"
    summary = f"Prometheus cannot scrape {target.instance} of job {target.job}: {why}"
    return _finding(labels, summary, {"expression": f"up{{{matchers}}} == 0"})


def _alerted(labels: Mapping[str, str]) -> bool:
    """Whether an alert of somebody else about the same scrape target is open."""
    open_rows = Episode.objects.firing().exclude(source=SOURCE)
    same = {f"labels__{name}": labels[name] for name in ("job", "instance") if name in labels}
    return bool(same) and open_rows.filter(**same).exists()


def _sick_containers() -> list[Alert] | None:
    if not settings.DOCKER_HOSTS:
        return None
    listing = cases.refresh_inventory()
    if listing.errors:
        # Resolving what is not seen would call a silent host healthy.
        raise ToolError("; ".join(listing.errors.values()))
    sick = (each for each in listing.containers if _is_sick(each.status, each.health))
    return [_container_finding(each.host, each.name, each.status, each.health) for each in sick]


def _is_sick(status: str, health: str | None) -> bool:
    return status == "restarting" or health == "unhealthy"


def _container_finding(host: str, name: str, status: str, health: str | None) -> Alert:
    state = "restarting" if status == "restarting" else str(health)
    labels = {
        "alertname": "ContainerRestarting" if status == "restarting" else "ContainerUnhealthy",
        "severity": "warning",
        "container": name,
        "host": host,
    }
    return _finding(labels, f"container {name} on {host} is {state}", {"container": f"docker:{host}/{name}"})


def _finding(labels: Mapping[str, str], summary: str, condition: Mapping[str, Any]) -> Alert:
    return findings.firing(labels, {"summary": summary}, condition)


def _report(name: str, found: Iterable[Alert], *, quiet: bool) -> list[int]:
    """Open what is found, and end what was found before and is gone."""
    alerts = {alert.fingerprint: alert for alert in found}
    mine = Episode.objects.firing().filter(source=SOURCE, condition__has_key=CONDITIONS[name])
    gone = [findings.over(row) for row in mine if row.fingerprint not in alerts]
    return intake.apply_alerts(source=SOURCE, alerts=[*alerts.values(), *gone], quiet=quiet)


def _listing(errors: dict[str, str]) -> alertmanager.Listing | None:
    if settings.ALERTMANAGER_URL is None:
        return None
    try:
        return alertmanager.listing()
    except ToolError as error:
        errors["alertmanager"] = str(error)
        return None


def _silent_watchdogs() -> list[Alert] | None:
    """A watchdog that stopped coming: the road from Prometheus to here is broken.

    Also one that ended: when Prometheus dies, Alertmanager says that its watchdog is resolved.
    """
    if not settings.WATCHDOG_SECONDS:
        return None
    since = timezone.now() - timedelta(seconds=settings.WATCHDOG_SECONDS)
    return [
        _finding(
            {"alertname": "WatchdogSilent", "severity": "critical", "watchdog": row.title},
            f"{row.title} was last heard {row.last_seen_at:%Y-%m-%d %H:%M} UTC",
            {"watchdog": {"source": row.source, "fingerprint": row.fingerprint}},
        )
        for row in _watchdogs()
        if row.last_seen_at < since
    ]


def _watchdogs() -> QuerySet[Episode]:
    """The latest episode of each watchdog; other alerts without an incident are ends that came first."""
    rows = Episode.objects.filter(incident=None).order_by()
    names = rows.values_list("alert_name", flat=True).distinct()
    dogs = rows.filter(alert_name__in=[name for name in names if is_watchdog_name(name)])
    last = dogs.values("source", "fingerprint").annotate(last=Max("id")).values("last")
    return Episode.objects.filter(pk__in=last).order_by("pk")


LOOKS = {"prometheus": _targets_down, "docker": _sick_containers, "watchdog": _silent_watchdogs}
