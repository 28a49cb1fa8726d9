"""The `ai_agents_*` metrics, read from the database at each scrape: exact, the same from every replica.

Three statements, whatever there is: the tally (`counted`), what stands now (`state`), the last incidents.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

from django.conf import settings
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from incidents import memory, tally
from incidents.models import RESOLUTION_STATUS, Incident
from incidents.redaction import clean
from incidents.totals import Totals, totals
from metrics import counted, state
from metrics.families import gauge, gauges

RECENT = 20


class FleetCollector(Collector):
    """What all processes did, and what stands."""

    def collect(self) -> Iterator[Metric]:
        found = tally.read()
        yield from _incidents(totals(found))
        yield from counted.families(found)
        yield from state.families(found)
        yield _recent()


class ProgramCollector(Collector):
    """The program itself. No query."""

    def collect(self) -> Iterator[Metric]:
        yield gauge(
            "ai_agents_memory_connected",
            "1 when the memory's index answers, else 0",
            int(memory.status() == "connected"),
        )
        yield gauges("ai_agents_build_info", "Always 1; the version", ("version",), {(settings.VERSION,): 1})


def _incidents(found: Totals) -> Iterator[Metric]:
    """The seed's gauges, and their like."""
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
    by = {
        "severity": ("Incidents by class of severity", found.by_severity),
        "verdict": ("Incidents by verdict; in_progress has none yet", found.by_verdict),
        "status": ("Incidents by resolution status", found.by_status),
        "source": ("Incidents by the sender of their first alert", found.by_source),
    }
    for label, (help_text, values) in by.items():
        name = f"ai_agents_incidents_by_{label}"
        yield gauges(name, help_text, (label,), {(key,): value for key, value in values.items()})


def _recent() -> Metric:
    labels = ("incident", "alert_name", "severity", "status", "verdict", "target", "opened")
    rows = Incident.objects.newest_first().values_list(
        "pk", "alert_name", "severity_class", "verdict", "target__key", "opened_at"
    )
    values = {
        (
            str(pk),
            clean(name),
            severity,
            RESOLUTION_STATUS[verdict],
            verdict or "",
            clean(target or ""),
            opened.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        ): 1
        for pk, name, severity, verdict, target, opened in rows[:RECENT]
    }
    return gauges("ai_agents_incident_info", f"Always 1; the last {RECENT} incidents", labels, values)


COLLECTORS: tuple[type[Collector], ...] = (FleetCollector, ProgramCollector)
