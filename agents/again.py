"""Whether another look at an incident is worth it, for `services.investigate_again`. Only reads."""

from __future__ import annotations

from django.db.models import Q

from agents.models import Action, Step
from incidents import services as incident_services
from incidents.models import Incident, Verdict
from incidents.queue import State
from incidents.wording import standing

Status = Incident.Status
LIVE = (State.WAITING, State.RUNNING)
WORKERS = (Step.Agent.MONITOR, Step.Agent.ANALYST, Step.Agent.HEALER, Step.Agent.EXECUTOR)


def why_not(incident: Incident) -> str | None:
    """In words, of an incident that is locked; None when the crew may look anew."""
    return _settled(incident) if incident.status == Status.CLOSED else _busy(incident)


def _settled(incident: Incident) -> str | None:
    """Why a closed incident is not looked at again, or None."""
    same = Q(target=incident.target_id) if incident.target_id else Q(previous=incident)
    alike = Incident.objects.unresolved().filter(same, alert_name=incident.alert_name)
    if (later := alike.filter(pk__gt=incident.pk).first()) is not None:
        return f"#{later.pk} is about the same, and open"
    if incident.episodes.firing().exists():
        return None
    if incident_services.judged_by_person(incident):
        return f"{standing(incident).lower()}, and its alert is silent"
    return "it is fixed, and its alert is silent" if incident.verdict == Verdict.VERIFIED else None


def _busy(incident: Incident) -> str | None:
    """Why an open incident is not looked at anew, or None."""
    if incident.taken_over_at is not None:
        return f"{incident.taken_over_by} has it; give it back first"
    if incident.status != Status.PROVING:
        return f"it is {incident.get_status_display().lower()}"
    run = incident.runs.filter(finished_at=None).first()
    if run is not None and run.steps.filter(agent__in=WORKERS, state__in=LIVE).exists():
        return "the crew is at it now"
    if run is not None and Action.objects.repairs().filter(step__run=run).exists():
        return "whether the last change helped is being watched; that ends by itself"
    return None
