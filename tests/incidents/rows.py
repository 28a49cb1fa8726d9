"""Rows that tests of the API, the metrics and the pages need, made without going through the services."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from incidents import counts, tally
from incidents.models import Episode, Incident, Target, Verdict
from incidents.severity import severity_class

START = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def an_incident(verdict: Verdict | None = None, *, seconds: float | None = None, **fields: Any) -> Incident:
    """An open incident, or with a verdict a closed one; `seconds` is how long it took to its proof."""
    severity = fields.pop("severity", "critical")
    ended = START + timedelta(seconds=seconds or 60) if verdict else None
    incident = Incident.objects.create(
        **{
            "source": "alertmanager",
            "alert_name": "ServiceDown",
            "description": "up was 0",
            "severity": severity,
            "severity_class": severity_class(severity),
            "started_at": START,
            "status": "closed" if verdict else "investigating",
            "verdict": verdict,
            "closed_at": ended,
            "resolution_seconds": seconds,
            **fields,
        }
    )
    count(incident)
    return incident


def count(incident: Incident) -> None:
    """As the services would have."""
    verdict, incident.verdict = incident.verdict, None
    changes = counts.opened([incident])
    incident.verdict = verdict
    tally.add([*changes, *(counts.judged(incident, None) if verdict else [])])


def an_episode(incident: Incident, **fields: Any) -> Episode:
    """An alert of an incident."""
    name = fields.get("alert_name", incident.alert_name)
    return Episode.objects.create(
        **{
            "source": incident.source,
            "fingerprint": f"f{Episode.objects.count()}",
            "alert_name": name,
            "labels": {"alertname": name, "instance": "nas:9100"},
            "starts_at": START,
            "incident": incident,
            "target": incident.target,
            **fields,
        }
    )


def a_target(name: str = "jellyfin", host: str = "docker2") -> Target:
    return Target.objects.create(key=f"docker:{host}/{name}", kind="docker", host=host, name=name)
