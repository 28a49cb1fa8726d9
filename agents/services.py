"""The writer of runs, steps and actions. Nothing here calls the world. What people answer: `questions`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents import counts, ledger
from agents.actions import TargetState, digest
from agents.models import Action, ActionKind, CrewRun, Guard, Step
from agents.rules import Decision
from incidents import events, rawinsert, rawsql, tally
from incidents import services as incident_services
from incidents.models import Event, Incident, Target
from incidents.queue import LIVE, State, hint, may_go_on_with

Status = Incident.Status
# A Healer's step that waits for an alert to heal itself.
WAITS: dict[str, Any] = {"state": State.WAITING, "waits_since__isnull": False}

TELLERS = (Step.Agent.COMMUNICATOR, Step.Agent.POSTMORTEM)  # they do nothing but that, also after the end

LAST_RUN = "SELECT COALESCE(MAX(number), 0) FROM agents_crewrun WHERE incident_id = {}"
OPEN_ACTION = "SELECT id FROM agents_action WHERE incident_id = {} AND status {}"
BOTH = """
SELECT incident.status, run.finished_at FROM incidents_incident incident
JOIN agents_crewrun run ON run.incident_id = incident.id WHERE run.id = {}"""


class NotNow(Exception):
    """What a step wants cannot be: somebody changed the incident meanwhile. Everything of it is undone, and
    the step is put back to look anew.
    """


@transaction.atomic
def start_run(incident_id: int) -> CrewRun | None:
    """Begin the crew's work on a new incident; None when it is under way or over."""
    incident = lock_incident(incident_id)
    if incident.status != Status.NEW or not incident_services.transition(
        incident, Status.INVESTIGATING, actor="crew", text="the crew takes it up"
    ):
        return None
    return begin_run(incident)


def begin_run(incident: Incident) -> CrewRun:
    """A run of an incident that is locked; the one before, if it goes on, ends."""
    last = _count(LAST_RUN, incident.pk)
    if last:  # the incident came back, or is looked at again
        finish_run(incident, "another look began")
    run = CrewRun(incident=incident, number=last + 1)
    rawinsert.insert([run])
    add_step(run, Step.Agent.MONITOR, known_open=True)
    return run


def add_step(
    run: CrewRun,
    agent: Step.Agent,
    *,
    after: float = 0.0,
    output: Any = None,
    focus: Target | None = None,
    asked_by: str = "",
    known_open: bool = False,
) -> Step:
    """Append an agent's next step to a run, in the caller's transaction, due after some seconds.

    NotNow when the run is finished: there is nothing left then but to tell people. `known_open`: not asked.
    """
    if not known_open and agent not in TELLERS and is_over(run):
        raise NotNow(f"{run} is finished")
    now = timezone.now()
    step = Step(
        run=run,
        agent=agent,
        due_at=now + timedelta(seconds=after),
        hinted_at=None if after else now,  # or a sweep would hint a whole backlog again
        output=output,
        focus=focus,
        asked_by=asked_by[:150],
    )
    mine = not after and may_go_on_with(step)
    rawinsert.append(step, "run", "agent")
    if not after and not mine:
        hint(Step, step.pk)
    return step


def _count(sql: str, *values: int | str) -> int:
    [(found,)] = rawsql.rows(sql, *values)
    return int(found)


def is_over(run: CrewRun) -> bool:
    """Whether a run is finished; unless it is, it stays open until the transaction ends."""
    [found] = rawsql.fetch(CrewRun, "id = {}", run.pk, lock=True)
    return found.finished_at is not None


def lock_both(run: CrewRun) -> tuple[str, bool]:
    """The status of a run's incident, and whether the run is finished; so until the transaction ends.

    The incident is named, and so locked, before the run, as by everybody who needs both.
    """
    [(status, finished_at)] = rawsql.rows(BOTH, run.pk, lock=True)
    return status, finished_at is not None


def lock_incident(pk: int) -> Incident:
    """The incident as it is now, and nobody else's to move until the transaction ends."""
    found = rawsql.fetch(Incident, "id = {}", pk, lock=True)
    if not found:
        raise Incident.DoesNotExist(f"there is no incident {pk}")
    return found[0]


def has_open_action(incident: Incident, target: Target | None) -> bool:
    """Whether a change of a target is asked about or under way; without a target: of any."""
    about, targets = (" AND target_id = {}", [target.pk]) if target else ("", [])
    wanted = [status.value for status in Action.OPEN]
    return bool(rawsql.rows(OPEN_ACTION + about, incident.pk, wanted, *targets))


def wake_proof(incident_id: int) -> None:
    """Look at the expression now rather than at the next regular look."""
    looks = Step.objects.filter(run__incident_id=incident_id, agent=Step.Agent.PROOF, state=State.WAITING)
    for pk in looks.values_list("pk", flat=True):
        Step.objects.filter(pk=pk, state=State.WAITING).update(due_at=timezone.now(), hinted_at=None)
        hint(Step, pk)


def work_on(run: CrewRun, target: Target) -> None:
    """Let the crew look at another target of the incident, unless it is at one now."""
    if not at_work(run).exclude(~Q(focus=target), **WAITS).exists():
        add_step(run, Step.Agent.ANALYST, focus=target)


def at_work(run: CrewRun) -> QuerySet[Step]:
    """The steps of an Analyst or a Healer that are not done."""
    live = run.steps.filter(state__in=LIVE)
    return live.filter(agent__in=(Step.Agent.ANALYST, Step.Agent.HEALER))


@transaction.atomic
def finish_run(incident: Incident, why: str = "the incident was closed") -> None:
    """End an incident's open run: what waits in it is over, what is being executed is not touched."""
    now = timezone.now()
    for run in incident.runs.filter(finished_at=None):
        CrewRun.objects.filter(pk=run.pk).update(finished_at=now)  # first: nobody appends to it from now on
        run.steps.filter(state=State.WAITING).exclude(agent__in=TELLERS).update(
            state=State.DONE, error=why, finished_at=now
        )
    withdraw_open(incident, why)


def withdraw_open(incident: Incident, why: str, **fields: Any) -> None:
    for action in incident.actions.filter(status__in=Action.OPEN).exclude(status=Action.Status.EXECUTING):
        change(action, Action.Status.WITHDRAWN, result=why, **fields)


def change(action: Action, to: Action.Status, **fields: Any) -> bool:
    """Move an action from the status it was read with; False when another worker moved it first.

    An outcome, a failure among them, is entered in the ledger with it, so the caller has a transaction.
    """
    failed = to == Action.Status.FAILED
    is_outcome = action.status != to if failed else fields.get("helped") is not None
    won = Action.objects.filter(pk=action.pk, status=action.status).update(status=to, **fields)
    if won:
        tally.add(counts.moved(action, to))
        action.status = to
        for name, value in fields.items():
            setattr(action, name, value)
        if is_outcome:
            ledger.settle(action)
            incident_services.remember_again(action.incident_id)
    return bool(won)


def draft(
    step: Step,
    *,
    kind: ActionKind,
    target: Target,
    reason: str,
    state: TargetState,
    arguments: dict[str, Any] | None = None,
    touches: str = "",
) -> Action:
    """An action as it would be proposed, not yet written. `touches`: what its dry run said."""
    incident = step.run.incident
    first = incident.episodes.filter(target=target).order_by("id").first()
    return Action(
        incident=incident,
        step=step,
        kind=kind,
        target=target,
        alert_name=first.title if first else incident.alert_name,
        host=target.host,
        reason=reason,
        arguments=arguments or {},
        touches=touches,
        digest=digest(kind, target, arguments or {}, state),
        target_state=snapshot(state),
    )


def snapshot(state: TargetState) -> dict[str, Any]:
    times = {"stopped_at": state.stopped_at, "started_at": state.started_at, "read_at": state.read_at}
    return {**state.approved_part(), **times, "restarting": state.restarting}


@transaction.atomic
def propose(action: Action, decision: Decision) -> Action:
    """Write a proposal together with what `authorize()` said of it, and what follows from that.

    NotNow when the incident is over, a person took it over since the decision, or another change of the
    target is under way or asked about.
    """
    incident, actor = action.incident, "healer"
    now = lock_incident(incident.pk)
    incident.status = now.status
    overtaken = now.taken_over_at is not None and decision.effect != "refuse"
    if incident.status == Status.CLOSED or overtaken or has_open_action(incident, action.target):
        raise NotNow(f"{incident} is {incident.get_status_display()}: no proposal now")
    action.decision = decision.as_json()
    action.decided_at = timezone.now()
    outcome = {
        "allow": (Action.Status.APPROVED, Event.Kind.ALLOWED, "policy"),
        "ask": (Action.Status.AWAITING_APPROVAL, Event.Kind.ASKED, ""),
        "refuse": (Action.Status.REFUSED, Event.Kind.REFUSED, "policy"),
    }[decision.effect]
    action.status, kind, action.decided_by = outcome
    if decision.effect == "ask":
        action.decided_at = None
        action.expires_at = timezone.now() + timedelta(seconds=settings.APPROVAL_SECONDS)
    action.save()
    tally.add(counts.proposed(action, decision))
    data = {"action": action.pk, "reasons": action.decision}
    events.record(incident, Event.Kind.PROPOSED, actor, f"{action}: {action.reason}", data)
    text = f"{action}: {decision.text}" if decision.text else str(action)
    events.record(incident, kind, "authorize", text, data)
    if decision.effect == "allow":
        go_ahead(action, actor)
    elif decision.effect == "ask":
        follow_actions(incident, actor=actor, text=f"waits for a yes to: {action}")
    return action


def follow_actions(incident: Incident, *, actor: str, text: str) -> None:
    """Give an incident, locked, the status that its actions call for.

    Each of its targets may have one that is open: what goes ahead counts before what is asked about.
    NotNow when its status cannot be that.
    """
    open_now = set(incident.actions.filter(status__in=Action.OPEN).values_list("status", flat=True))
    asked = Status.AWAITING_APPROVAL if Action.Status.AWAITING_APPROVAL in open_now else Status.PROVING
    to = Status.ACTING if open_now & {Action.Status.APPROVED, Action.Status.EXECUTING} else asked
    if to == incident.status:
        events.record(incident, Event.Kind.STATUS, actor, text, {"to": to})
    elif to not in Incident.TRANSITIONS[incident.status] or not incident_services.transition(
        incident, to, actor=actor, text=text
    ):
        raise NotNow(f"{incident} is {incident.get_status_display()}")


def go_ahead(action: Action, actor: str) -> None:
    """Hand an action that was allowed, or approved, to the executor."""
    follow_actions(action.incident, actor=actor, text=f"goes ahead: {action}")
    add_step(action.step.run, Step.Agent.EXECUTOR, output={"action": action.pk})


def lock_guard() -> None:
    """Executions are begun one at a time, so that limits are counted by one worker at a time."""
    Guard.lock(Guard.EXECUTIONS)


@transaction.atomic
def settle_outcomes(incident: Incident, *, firing: Collection[int], cleared: Collection[int]) -> None:
    """Write on each begun action what the last look saw of its own target's alerts (episode pks).

    A neighbour that still fires says nothing about it; what could not be read leaves it unknown, and so does
    a clearing of which nobody knows whether it is the action's merit.
    """
    for action in incident.actions.repairs().filter(helped=None).exclude(status=Action.Status.EXECUTING):
        mine = set(incident.episodes.filter(target=action.target_id).values_list("pk", flat=True))
        if mine & set(firing) or (mine & set(cleared) and action.status == Action.Status.FAILED):
            change(action, Action.Status(action.status), helped=False)
        elif mine & set(cleared) and action.may_have_helped:
            change(action, Action.Status(action.status), helped=True)
