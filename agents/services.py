"""The only writer of runs, steps and actions. Nothing here calls the world."""

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
from agents.models import Action, ActionKind, CrewRun, Guard, Rejection, Step
from agents.rules import Decision
from incidents import rawinsert, rawsql, tally
from incidents import services as incident_services
from incidents.models import Event, Incident, Target
from incidents.queue import State, hint, may_go_on_with
from incidents.redaction import clean

Status = Incident.Status
# A Healer's step that waits for an alert to heal itself.
WAITS: dict[str, Any] = {"state": State.WAITING, "waits_since__isnull": False}

LIVE = (State.WAITING, State.RUNNING)

TELLERS = (Step.Agent.COMMUNICATOR, Step.Agent.POSTMORTEM)  # they do nothing but that, also after the end

LAST_RUN = "SELECT COALESCE(MAX(number), 0) FROM agents_crewrun WHERE incident_id = {}"
OPEN_ACTION = "SELECT id FROM agents_action WHERE incident_id = {} AND status {}"
BOTH = """
SELECT incident.status, run.finished_at FROM incidents_incident incident
JOIN agents_crewrun run ON run.incident_id = incident.id WHERE run.id = {}"""


class NotWaiting(Exception):
    """An answer to a question that is no longer open: used, answered, withdrawn or expired."""

    def __init__(self, action: Action) -> None:
        super().__init__(f"{action} is {action.get_status_display()}")
        self.action = action


class NotNow(Exception):
    """What a step wants cannot be: somebody changed the incident meanwhile. Everything of it is undone, and
    the step is put back to look anew.
    """


class CannotAsk(Exception):
    """There is nothing to ask again; the message says why."""


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
    if not known_open and agent != Step.Agent.COMMUNICATOR and is_over(run):
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
    if not _at_work(run).exclude(~Q(focus=target), **WAITS).exists():
        add_step(run, Step.Agent.ANALYST, focus=target)


def _hurry(run: CrewRun, target: Target, by: str) -> Step | None:
    """The Healer that waited for a target to heal itself and waits no longer: a person wants to be asked."""
    waiting = run.steps.filter(agent=Step.Agent.HEALER, focus=target, **WAITS)
    pk = waiting.values_list("pk", flat=True).first()
    if pk is None or not waiting.filter(pk=pk).update(asked_by=by[:150], due_at=timezone.now()):
        return None
    hint(Step, pk)
    return Step.objects.get(pk=pk)


def _at_work(run: CrewRun) -> QuerySet[Step]:
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
    first = incident.episodes.filter(target=target).order_by("id").only("alert_name").first()
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
    incident_services.record(incident, Event.Kind.PROPOSED, actor, f"{action}: {action.reason}", data)
    text = f"{action}: {decision.text}" if decision.text else str(action)
    incident_services.record(incident, kind, "authorize", text, data)
    if decision.effect == "allow":
        _to_executor(action, actor)
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
        incident_services.record(incident, Event.Kind.STATUS, actor, text, {"to": to})
    elif to not in Incident.TRANSITIONS[incident.status] or not incident_services.transition(
        incident, to, actor=actor, text=text
    ):
        raise NotNow(f"{incident} is {incident.get_status_display()}")


def _to_executor(action: Action, actor: str) -> None:
    follow_actions(action.incident, actor=actor, text=f"goes ahead: {action}")
    add_step(action.step.run, Step.Agent.EXECUTOR, output={"action": action.pk})


@transaction.atomic
def approve(action: Action, *, by: str) -> Action:
    """A person's yes, once and in time. NotWaiting when the question is no longer open."""
    action = _waiting(action)
    incident = action.incident
    if incident.status in (Status.NEW, Status.CLOSED) or incident.taken_over_at or is_over(action.step.run):
        raise NotWaiting(action)
    change(action, Action.Status.APPROVED, decided_at=timezone.now(), decided_by=by, by_person=True)
    incident_services.record(
        action.incident, Event.Kind.APPROVED, by, f"approved: {action}", {"action": action.pk}
    )
    _to_executor(action, by)
    return action


@transaction.atomic
def reject(action: Action, *, by: str, reason: str = "", code: str = "") -> Action:
    """A person's no, which ends the proposal for this incident. NotWaiting when it is no longer asked.

    `code`: a `Rejection`, or empty; who does it himself takes the incident over.
    """
    action, reason = _waiting(action), clean(reason)
    answer = {"decided_at": timezone.now(), "decided_by": by, "by_person": True, "rejected_as": code}
    change(action, Action.Status.REJECTED, result=reason, **answer)
    why = ", ".join(filter(None, (action.get_rejected_as_display(), reason)))
    text = f"rejected: {action}" + (f" ({why})" if why else "")
    data = {"action": action.pk, "code": code}
    incident_services.record(action.incident, Event.Kind.REJECTED, by, text, data)
    follow_actions(action.incident, actor=by, text="no action; watching on")
    if code == Rejection.MINE:
        incident_services.take_over(action.incident, by=by)
    wake_proof(action.incident_id)
    return action


@transaction.atomic
def ask_again(action: Action, *, by: str) -> Step:
    """Let the Healer look at today's state and propose anew, after a question that came to nothing.

    CannotAsk when the incident is over, a question of it is still open, or the crew is at work on it.
    """
    found = _locked(action)
    if found.status == Action.Status.AWAITING_APPROVAL and not found.is_asked:
        expire(found)
    if found.status in Action.OPEN or found.status == Action.Status.DONE:
        raise CannotAsk(f"{found} is {found.get_status_display()}")
    if found.incident.taken_over_at is not None:
        raise CannotAsk(f"{found.incident.taken_over_by} has it")
    if found.incident.status not in (Status.PROVING, Status.AWAITING_APPROVAL):
        raise CannotAsk(f"{found.incident} is {found.incident.get_status_display()}")
    run = found.step.run
    if is_over(run) or has_open_action(found.incident, found.target):
        raise CannotAsk(f"{found.incident} is worked on otherwise by now")
    if (hurried := _hurry(run, found.target, by)) is not None:
        return hurried
    if found.target_id in _at_work(run).values_list("focus", flat=True):
        raise CannotAsk("the crew is asked already")
    if _at_work(run).exists():
        raise CannotAsk("the crew is at work on another target")
    text = f"asks again: {found}"
    incident_services.record(found.incident, Event.Kind.ASKED, by, text, {"action": found.pk})
    return add_step(run, Step.Agent.HEALER, focus=found.target, asked_by=by)


def may_ask_again(action: Action) -> bool:
    """Whether a question came to nothing and its incident still waits; `ask_again` then looks closer."""
    answered = action.status in (*Action.OPEN, Action.Status.DONE)
    late = action.status == Action.Status.AWAITING_APPROVAL and not action.is_asked
    waits = action.incident.status in (Status.PROVING, Status.AWAITING_APPROVAL)
    return (late or not answered) and waits and action.incident.taken_over_at is None


def _locked(action: Action) -> Action:
    """The action as it is now, and nobody else's to decide until the transaction ends.

    The incident is locked first, as by everybody who needs both.
    """
    lock_incident(action.incident_id)
    rows = Action.objects.select_for_update(of=("self",)).select_related("incident", "target", "step__run")
    return rows.get(pk=action.pk)


def _waiting(action: Action) -> Action:
    found = _locked(action)
    if not found.is_asked:
        raise NotWaiting(found)
    return found


@transaction.atomic
def expire(action: Action) -> bool:
    """A question that nobody answered in time; the incident is watched on."""
    incident = action.incident
    incident.status = lock_incident(incident.pk).status
    if not change(action, Action.Status.EXPIRED):
        return False
    data = {"action": action.pk}
    incident_services.record(incident, Event.Kind.EXPIRED, "policy", f"nobody answered: {action}", data)
    follow_actions(incident, actor="policy", text="the question expired; watching on")
    return True


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
