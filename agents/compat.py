"""The first generation's three names, on today's roads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from incidents import intake, jobs, memory
from incidents.alertmanager import parse_webhook

incident_memory = memory


def handle_alert(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Take an Alertmanager webhook's payload, as `POST /alert` does; the crew works it in the background.

    Returns `{"alerts": accepted, "quarantined": n, "incidents": [ids]}`; PayloadError when it is no webhook.
    """
    body = json.dumps(payload).encode()
    receipt = intake.receive(source="alertmanager", body=body, webhook=parse_webhook(body))
    return {
        "alerts": receipt.accepted,
        "quarantined": receipt.quarantined,
        "incidents": receipt.incidents,
    }


def scheduled_health_check() -> int:
    """Ask the running server for a health check now; the job's id."""
    return jobs.request("health_check", by="shell").pk
