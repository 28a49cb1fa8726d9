"""Examples of the records, by component and field."""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]
T = "2026-03-14T03:{}Z"
TARGET = "docker:docker2/jellyfin"

INCIDENT: Fields = {
    "id": 1042,
    "alert_name": "JellyfinDown",
    "description": "jellyfin does not answer on port 8096",
    "severity": "critical",
    "timestamp": T.format("12:05"),
    "affected_systems": [TARGET],
    "root_cause": "the kernel killed it: out of memory",
    "remediation_taken": f"restart container {TARGET}",
    "resolution_status": "resolved",
    "resolution_time": 221.4,
    "verdict": "verified",
}
PROBLEM: Fields = {
    "id": 7,
    "title": "JellyfinDown",
    "target": TARGET,
    "signature": f"JellyfinDown {TARGET}",
    "status": "open",
    "times": 3,
    "opened_at": T.format("18:40"),
    "last_seen_at": T.format("15:46"),
    "reopened": 0,
    "proposal": "Give the container 2 GiB: it was killed for memory 3 times in 7 days.",
}
TOKEN: Fields = {
    "id": 5,
    "name": "grafana",
    "role": "viewer",
    "source": "alertmanager",
    "created_at": T.format("00:00"),
}
DELIVERY: Fields = {
    "id": 90210,
    "received_at": T.format("12:05"),
    "source": "alertmanager",
    "alerts": 1,
    "quarantined": [],
}
ANSWERED: Fields = {"status": "success", "service": "homelab-ai-agents", "version": "1.0.0"}

RECORDS: dict[str, Fields] = {
    "Incident": INCIDENT,
    "IncidentDetail": {
        **INCIDENT,
        "status": "closed",
        "standing": "Fixed, proven",
        "source": "alertmanager",
        "severity_class": "critical",
        "target": TARGET,
        "problems": [7],
        "started_at": T.format("12:05"),
        "opened_at": T.format("12:06"),
        "ended_at": T.format("14:45"),
        "closed_at": T.format("15:46"),
        "reopened": 0,
        "adopted": False,
        "certainty": "CONFIRMED",
        "rung": "model",
        "proof_note": "the expression stayed clear for 60 s",
    },
    "Episode": {
        "id": 2210,
        "incident": 1042,
        "source": "alertmanager",
        "fingerprint": "9c1b8a44d2e0f377",
        "alert_name": "JellyfinDown",
        "severity": "critical",
        "labels": {"alertname": "JellyfinDown", "severity": "critical", "container": "jellyfin"},
        "annotations": {"summary": "jellyfin does not answer on port 8096"},
        "generator_url": "http://prometheus:9090/graph?g0.expr=probe_success+%3D%3D+0",
        "starts_at": T.format("12:05"),
        "ends_at": T.format("14:45"),
        "first_seen_at": T.format("12:06"),
        "last_seen_at": T.format("14:46"),
        "target": TARGET,
    },
    "Event": {
        "id": 40021,
        "incident": 1042,
        "at": T.format("13:10"),
        "kind": "noted",
        "actor": "robin",
        "text": "nobody was watching anything",
        "data": {},
    },
    "Notification": {
        "id": 801,
        "incident": 1042,
        "kind": "decision",
        "channel": "ntfy-1",
        "title": "CRIT jellyfin@docker2 JellyfinDown 1m · restart? until 03:27",
        "body": "Cause (CONFIRMED): the kernel killed it: out of memory",
        "state": "done",
        "created_at": T.format("12:40"),
        "sent_at": T.format("12:41"),
    },
    "Annotation": {"cause": "the new transcoder takes 3 GiB", "note": "give it more memory"},
    "Resolution": {"note": "gave it 4 GiB"},
    "Rating": {"rating": "partly"},
    "Escalation": {"why": "I am on a train"},
    "Note": {"text": "nobody was watching anything"},
    "Problem": PROBLEM,
    "ProblemDetail": {**PROBLEM, "incidents": [1042, 1017, 990]},
    "ProblemNote": {"note": "a bigger machine comes on Monday"},
    "ProblemClose": {"note": "it has 4 GiB now"},
    "Target": {
        "id": 31,
        "key": TARGET,
        "kind": "docker",
        "host": "docker2",
        "name": "jellyfin",
        "first_seen_at": "2025-11-02T08:00:00Z",
        "last_seen_at": T.format("15:46"),
    },
    "RecalledList": {"count": 1},
    "Recalled": {
        "incident": 1017,
        "alert_name": "JellyfinDown",
        "text": "JellyfinDown on docker:docker2/jellyfin. Cause: out of memory.",
        "score": 0.91,
        "dense": 0.88,
        "lexical": 0.62,
        "why": ["the same alert", "verified", "7 days ago"],
    },
    "QueuedAnswer": {"status": "accepted", "job": 4, "detail": "a health check is queued"},
    "Channel": {"name": "ntfy-1", "level": 0},
    "ChannelTested": {"status": "sent", "channel": "ntfy-1"},
    "Delivery": DELIVERY,
    "DeliveryDetail": {**DELIVERY, "body": '{"version":"4","alerts":[]}'},
    "Token": TOKEN,
    "NewToken": {"name": "grafana", "role": "viewer"},
    "MadeToken": {**TOKEN, "token": "hl_shown-this-once"},
    "AcceptedAlerts": {"status": "accepted", "alerts": 1, "quarantined": 0, "incidents": [1042]},
    "HealthAnswer": {**ANSWERED, "status": "healthy"},
    "MemoryHealth": {"status": "connected", "incidents": 1042},
    "LiveAnswer": {"status": "alive"},
    "StatsAnswer": ANSWERED,
    "MemoryStats": {
        "total_incidents": 1042,
        "success_rate": 91.5,
        "fixed_by_crew_rate": 74.0,
        "avg_resolution_time": 240.1,
        "by_severity": {"critical": 402, "warning": 640},
        "by_verdict": {"in_progress": 1, "verified": 771, "unknown": 270},
        "by_status": {"in_progress": 1, "resolved": 771, "attempted": 270},
    },
    "IncidentsAnswer": {"status": "success", "count": 1},
}
# Of an object that no component describes.
WEBHOOK: Fields = {
    "version": "4",
    "groupKey": '{}:{alertname="JellyfinDown"}',
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "fingerprint": "9c1b8a44d2e0f377",
            "startsAt": T.format("12:05"),
            **{name: RECORDS["Episode"][name] for name in ("labels", "annotations")},
            "generatorURL": RECORDS["Episode"]["generator_url"],
        }
    ],
}
