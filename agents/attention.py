"""Which open incidents are left to people: nothing that the crew did, or will do, is about what fires."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Case, Exists, OuterRef, Q, When

from agents import rehearsal
from agents.again import WORKERS
from agents.models import Action, Step
from incidents.literal import Literal
from incidents.models import SEVERITIES, Episode, Incident, IncidentQuerySet
from incidents.queue import LIVE

Status = Incident.Status


def is_left() -> Q:
    """Of incidents: watched only, nobody is at work, and an alert fires whose target was not mended.

    A Healer that waits for its alert to heal itself is at work. What the sender resolved ends by itself, as a
    test alert does.
    """
    open_run = {"run__incident": OuterRef("pk"), "run__finished_at": None}
    at_work = Step.objects.filter(**open_run, agent__in=WORKERS, state__in=LIVE)
    mended = Action.objects.repairs().filter(
        status=Action.Status.DONE,
        target=OuterRef("target"),
        step__run__incident=OuterRef("incident"),
        step__run__finished_at=None,
    )
    unmended = Episode.objects.firing().filter(~Exists(mended), incident=OuterRef("pk"))
    watched = Q(status=Literal(Status.PROVING), taken_over_at=None) & ~Q(source=rehearsal.SOURCE)
    return watched & Q(Exists(unmended), ~Exists(at_work))


def left_to_people(incident_ids: Collection[int]) -> set[int]:
    return set(Incident.objects.filter(is_left(), pk__in=incident_ids).values_list("pk", flat=True))


def urgent_first(incidents: IncidentQuerySet) -> IncidentQuerySet:
    """Those that need a person, then by severity, then the newest."""
    asked = Q(status=Literal(Status.AWAITING_APPROVAL), taken_over_at=None)
    needs = Case(When(asked | is_left(), then=0), default=1)
    grave = Case(*(When(severity_class=name, then=rank) for rank, name in enumerate(SEVERITIES)))
    return incidents.order_by(needs, grave, "-pk")
