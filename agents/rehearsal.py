"""A test alert: by the road of any alert, from the delivery's row to the last message, and harmless.

It names no container and no instance, so it is bound to no target, and nothing can be proposed. After a while
its sender says that it is over. Nothing was wrong, so its verdict is `false_alarm`: it counts in no rate, and
becomes no problem that comes back.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.utils import timezone

from incidents import intake, jobs, services
from incidents.alertmanager import parse_webhook
from incidents.jobs import Again
from incidents.models import Episode, Incident, Verdict

JOB = "end_test_alerts"
EVERY_SECONDS = 300.0  # in case the request of it was lost
SOURCE = "homelab-test"
ALERT = "HomelabTest"
LASTS = timedelta(seconds=30)


def send(*, by: str) -> int:
    """Deliver one; its incident. It ends by itself, after LASTS."""
    now = timezone.now()
    labels = {"alertname": ALERT, "severity": "info", "test": now.strftime("%Y%m%dT%H%M%S.%f")}
    summary = f"A test alert that {by} sent from the page. Nothing is wrong, and nothing will be changed."
    [incident] = _deliver({"status": "firing", "labels": labels, "startsAt": now.isoformat()}, summary)
    jobs.request(JOB, by=by)
    return incident


def end_due() -> dict[str, Any]:
    """As a job: resolve those that have lasted, close their incidents; `Again` while others fire."""
    now = timezone.now()
    firing = list(Episode.objects.firing().filter(source=SOURCE, alert_name=ALERT).order_by("pk"))
    for episode in firing:
        if now - episode.starts_at >= LASTS:
            _resolve(episode)
    open_ = Incident.objects.unresolved().filter(source=SOURCE, alert_name=ALERT, ended_at__isnull=False)
    ended = [incident.pk for incident in open_.order_by("pk") if _close(incident)]
    young = [episode.starts_at for episode in firing if now - episode.starts_at < LASTS]
    if young:
        raise Again((min(young) + LASTS - now).total_seconds())
    return {"ended": ended}


def _resolve(episode: Episode) -> None:
    times = {"startsAt": episode.starts_at.isoformat(), "endsAt": timezone.now().isoformat()}
    alert = {"status": "resolved", "labels": episode.labels, "fingerprint": episode.fingerprint, **times}
    _deliver(alert, episode.annotations.get("summary", ""))


def _close(incident: Incident) -> bool:
    return services.close(
        incident, Verdict.FALSE_ALARM, actor="homelab", note="it was a test: nothing was wrong"
    )


def _deliver(alert: dict[str, Any], summary: str) -> list[int]:
    """As Alertmanager would, a group of one alert."""
    payload = {
        "version": "4",
        "status": alert["status"],
        "groupKey": f"test:{alert['startsAt']}",
        "alerts": [{**alert, "annotations": {"summary": summary}}],
    }
    body = json.dumps(payload).encode()
    return intake.receive(source=SOURCE, body=body, webhook=parse_webhook(body)).incidents
