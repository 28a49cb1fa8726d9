"""A row of each kind, so that requests to any endpoint find what they are about."""

from __future__ import annotations

from django.utils import timezone

from agents.models import Autonomy, MaintenanceWindow, Pause
from incidents import memory
from incidents.access import create_token
from incidents.models import Delivery, Event, Incident, Notification, Problem, Role, Verdict
from tests.agents.rows import an_action
from tests.incidents.rows import a_target, an_episode, an_incident


def a_household() -> dict[str, int]:
    """Made, and their keys by what they are."""
    target = a_target()
    action = an_action(target=target)
    Incident.objects.filter(pk=action.incident_id).update(root_cause="out of memory", certainty="CONFIRMED")
    ended = an_incident(Verdict.UNKNOWN, target=a_target("sonarr"), alert_name="DiskFull")
    alert = an_episode(ended, ends_at=timezone.now())
    Event.objects.create(incident=ended, kind=Event.Kind.CLOSED, actor="proof", text="closed")
    Notification.objects.create(
        incident=action.incident, kind="decision", dedup_key="1", channel="ntfy-1", title="restart?", body=""
    )
    memory.forget_index()
    memory.remember(ended)
    memory.fill()
    window = MaintenanceWindow.objects.create(scope=target.key, starts="03:00", minutes=60, by="robin")
    pair = Autonomy.objects.create(kind=action.kind, target_kind=action.target.kind, alert_name="ServiceDown")
    problem = Problem.objects.create(signature="s", title="t", last_seen_at=timezone.now())
    problem.incidents.add(ended)
    delivery = Delivery.objects.create(
        source="alertmanager", body=b"\xff{}", alerts=0, quarantined=[{"index": 0, "reason": "labels"}]
    )
    return {
        "incident": action.incident_id,
        "ended": ended.pk,
        "alert": alert.pk,
        "action": action.pk,
        "pair": pair.pk,
        "pause": Pause.objects.create(scope=target.key, by="robin").pk,
        "window": window.pk,
        "problem": problem.pk,
        "target": action.target_id,
        "delivery": delivery.pk,
        "token": create_token(name="old", role=Role.VIEWER)[0].pk,
    }
