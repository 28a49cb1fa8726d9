"""A person wants the summary in a model's words."""

from __future__ import annotations

from django.db import transaction

from agents import services
from agents.models import Step
from incidents import events
from incidents.models import Event, Incident
from incidents.queue import LIVE


@transaction.atomic
def ask(incident: Incident, *, by: str) -> Step | None:
    """A step of the last run that asks the ladder for it; the one that waits already, if one does. None while
    the crew has not begun: then there is nothing to tell.
    """
    services.lock_incident(incident.pk)
    run = incident.runs.order_by("-number").first()
    if run is None:
        return None
    mine = Step.objects.filter(run__incident=incident, agent=Step.Agent.POSTMORTEM)
    if (step := mine.filter(state__in=LIVE).first()) is not None:
        return step
    events.record(incident, Event.Kind.REQUESTED, by, "asks for the postmortem's summary")
    return services.add_step(run, Step.Agent.POSTMORTEM, asked_by=by)
