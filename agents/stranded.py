"""Work that nobody will take up any more: its step is dead, or its worker was killed in a bad moment.

Every open incident has a step that waits or runs, and every action that goes ahead has its executor. Where
that is not so, the action is settled, people are told, and the watch goes on.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from agents import counts, crew, executor, services
from agents.models import Action, CrewRun, Step
from agents.rules import Decision, Reason
from incidents import events, tally
from incidents.models import Event, Incident
from incidents.queue import LIVE

Status = Incident.Status
# Longer than between any two commits of one turn.
QUIET = timedelta(seconds=30)
RUNS = 20
CREW = (Step.Agent.MONITOR, Step.Agent.ANALYST, Step.Agent.HEALER)
GOING_AHEAD = (Action.Status.APPROVED, Action.Status.EXECUTING)


def settle_all() -> int:
    """Settle the runs that are stranded for a while; how many."""
    old = timezone.now() - QUIET
    steps = Step.objects.filter(run=OuterRef("pk"))
    begun = steps.filter(Q(created_at__gt=old) | Q(started_at__gt=old) | Q(finished_at__gt=old))
    told = Event.objects.filter(incident=OuterRef("incident"), at__gt=old)
    rows = _stranded().exclude(Exists(begun)).exclude(Exists(told)).select_related("incident")
    found = list(rows.order_by("pk")[:RUNS])
    for run in found:
        settle(run)
    return len(found)


def _stranded() -> QuerySet[CrewRun]:
    live = Step.objects.filter(run=OuterRef("pk"), state__in=LIVE)
    executing = live.filter(agent=Step.Agent.EXECUTOR)
    ahead = Action.objects.filter(step__run=OuterRef("pk"), status__in=GOING_AHEAD)
    # Who tells wakes nothing; and a watch rests while the incident is acting.
    resting = ~Exists(live.exclude(agent__in=services.TELLERS)) | Q(incident__status=Status.ACTING)
    idle = Q(finished_at=None) & ~Q(incident__status__in=(Status.NEW, Status.CLOSED)) & resting
    return CrewRun.objects.filter(~Exists(executing), idle | Exists(ahead))


def settle(run: CrewRun) -> None:
    """Settle a run's actions whose executor is gone, and let its incident be watched on."""
    ahead = Action.objects.filter(step__run=run, status__in=GOING_AHEAD).select_related("target")
    if _live(run, (Step.Agent.EXECUTOR,)):
        ahead = ahead.none()
    ends = []
    for action in ahead:
        end = executor.what_became_of(action) if action.status == Action.Status.EXECUTING else None
        if action.status == Action.Status.EXECUTING and end is None:
            return  # the engine may be at it; the sweep comes again
        ends.append((action, end or (Action.Status.WITHDRAWN, "its executor gave up before it began")))
    with transaction.atomic():
        incident = services.lock_incident(run.incident_id)
        for action, (status, text) in ends:
            _end(incident, action, status, text)
        if incident.status not in (Status.NEW, Status.CLOSED) and not services.is_over(run):
            _watch_on(run, incident)


def _end(incident: Incident, action: Action, status: Action.Status, text: str) -> None:
    if status != Action.Status.WITHDRAWN:
        executor.record_end(incident, action, status, text)
    elif services.change(action, status, result=text):
        why = Decision("refuse", (Reason("refuse", "gave_up", text),))
        tally.add(counts.refused(why.reasons))
        data = {"action": action.pk, "reasons": why.as_json()}
        events.record(incident, Event.Kind.REFUSED, "crew", f"{action}: {text}", data)


def _watch_on(run: CrewRun, incident: Incident) -> None:
    moving = {Status.INVESTIGATING: CREW, Status.ACTING: (Step.Agent.EXECUTOR,)}.get(Status(incident.status))
    if moving is not None and not _live(run, moving):
        text = "its work was cut off; watching"
        services.follow_actions(incident, actor="crew", text=text)
    watched = incident.status in (Status.PROVING, Status.AWAITING_APPROVAL)
    last = run.steps.order_by("pk").last()
    if watched and last is not None and not _live(run, (Step.Agent.PROOF,)):
        crew.begin_watch(last, incident)
    services.add_step(run, Step.Agent.COMMUNICATOR)


def _live(run: CrewRun, agents: tuple[Step.Agent, ...]) -> bool:
    return run.steps.filter(agent__in=agents, state__in=LIVE).exists()
