"""The `ai_agents_*` metrics, read from the database at each scrape: exact, the same from every replica."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet, Value
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from agents.models import Action
from incidents import memory
from incidents.models import MemoryEntry, Notification
from incidents.queue import State
from incidents.totals import totals

UNDONE = (State.WAITING, State.RUNNING, State.DEAD)


class IncidentCollector(Collector):
    """Incidents, and how well they ended. One query."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = totals()
        yield gauge("ai_agents_incidents_total", "Incidents in the database", found.incidents)
        yield gauge(
            "ai_agents_success_rate",
            "Share of closed incidents that are proved gone, 0 to 1; NaN while none is closed",
            found.success_rate,
        )
        yield gauge(
            "ai_agents_fixed_by_crew_rate",
            "Share of closed incidents that the crew fixed, with proof, 0 to 1; NaN while none is closed",
            found.fixed_by_crew_rate,
        )
        yield gauge(
            "ai_agents_avg_resolution_seconds",
            "Mean time from an alert's start to the proof; NaN while there is none",
            found.avg_resolution_seconds,
        )
        yield labelled(
            "ai_agents_incidents_by_severity", "Incidents by class of severity", "severity", found.by_severity
        )
        yield labelled(
            "ai_agents_incidents_by_verdict",
            "Incidents by verdict; in_progress has none yet",
            "verdict",
            found.by_verdict,
        )


class WorkCollector(Collector):
    """What waits: actions, messages, memory. One query."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = work()
        actions = {status: found.get(("action", status), 0) for status in Action.Status.values}
        yield labelled("ai_agents_actions", "Actions by status", "status", actions)
        yield gauge(
            "ai_agents_approvals_waiting",
            "Actions that wait for a person",
            actions[Action.Status.AWAITING_APPROVAL],
        )
        yield gauge(
            "ai_agents_notifications_unsent",
            "Messages that were not sent yet, given-up ones included",
            sum(found.get(("notification", state), 0) for state in UNDONE),
        )
        yield gauge(
            "ai_agents_memory_entries",
            "Incidents that are remembered",
            sum(found.get(("memory", state), 0) for state in State.values),
        )
        yield gauge(
            "ai_agents_memory_unsynced",
            "Remembered incidents that the index lacks or has in an older form",
            sum(found.get(("memory", state), 0) for state in UNDONE),
        )


class ProgramCollector(Collector):
    """The program itself. No query."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield gauge(
            "ai_agents_memory_connected",
            "1 when the memory's index answers, else 0",
            int(memory.status() == "connected"),
        )
        yield labelled("ai_agents_build_info", "Always 1; the version", "version", {settings.VERSION: 1})


def work() -> dict[tuple[str, str], int]:
    """Rows by (kind, state) in one query: `action`, `notification` and `memory`."""
    # An escalation before its time may never be told.
    waits = Q(kind=Notification.Kind.ESCALATION, state=State.WAITING, attempts=0)
    kinds: dict[str, tuple[QuerySet[Any], str]] = {
        "action": (Action.objects.all(), "status"),
        "notification": (Notification.objects.exclude(waits), "state"),
        "memory": (MemoryEntry.objects.all(), "state"),
    }
    parts = [
        rows.order_by()
        .values(rows_of=Value(kind), stands=F(column))
        .annotate(n=Count("pk"))
        .values_list("rows_of", "stands", "n")
        for kind, (rows, column) in kinds.items()
    ]
    return {(kind, state): n for kind, state, n in parts[0].union(*parts[1:], all=True)}


def gauge(name: str, help_text: str, value: float | None) -> GaugeMetricFamily:
    """A gauge without labels; what is not known is NaN."""
    return GaugeMetricFamily(name, help_text, value=math.nan if value is None else value)


def labelled(name: str, help_text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    """A gauge with one label."""
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


COLLECTORS: tuple[type[Collector], ...] = (IncidentCollector, WorkCollector, ProgramCollector)
