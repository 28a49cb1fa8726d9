"""What a person is asked about a proposal: the answer, the asking again, and the silence."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from agents import services
from agents.models import Action, CrewRun, Rejection, Step
from incidents import events
from incidents import services as incident_services
from incidents.models import Event, Incident, Target
from incidents.queue import hint
from incidents.redaction import clean

Status = Incident.Status


class NotWaiting(Exception):
    """An answer to a question that is no longer open: used, answered, withdrawn or expired."""

    def __init__(self, action: Action) -> None:
        super().__init__(f"{action} is {action.get_status_display()}")
        self.action = action


class CannotAsk(Exception):
    """There is nothing to ask again; the message says why."""


@transaction.atomic
def approve(action: Action, *, by: str) -> Action:
    """A person's yes, once and in time. NotWaiting when the question is no longer open."""
    action = _waiting(action)
    incident = action.incident
    is_over = incident.status in (Status.NEW, Status.CLOSED) or services.is_over(action.step.run)
    if is_over or incident.taken_over_at is not None:
        raise NotWaiting(action)
    services.change(action, Action.Status.APPROVED, decided_at=timezone.now(), decided_by=by, by_person=True)
    events.record(action.incident, Event.Kind.APPROVED, by, f"approved: {action}", {"action": action.pk})
    services.go_ahead(action, by)
    return action


@transaction.atomic
def reject(action: Action, *, by: str, reason: str = "", code: str = "") -> Action:
    """A person's no, which ends the proposal for this incident. NotWaiting when it is no longer asked.

    `code`: a `Rejection`, or empty; who does it himself takes the incident over.
    """
    action, reason = _waiting(action), clean(reason)
    answer = {"decided_at": timezone.now(), "decided_by": by, "by_person": True, "rejected_as": code}
    services.change(action, Action.Status.REJECTED, result=reason, **answer)
    why = ", ".join(filter(None, (action.get_rejected_as_display(), reason)))
    text = f"rejected: {action}" + (f" ({why})" if why else "")
    data = {"action": action.pk, "code": code}
    events.record(action.incident, Event.Kind.REJECTED, by, text, data)
    services.follow_actions(action.incident, actor=by, text="no action; watching on")
    if code == Rejection.MINE:
        incident_services.take_over(action.incident, by=by)
    services.wake_proof(action.incident_id)
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
    if services.is_over(run) or services.has_open_action(found.incident, found.target):
        raise CannotAsk(f"{found.incident} is worked on otherwise by now")
    if (hurried := _hurry(run, found.target, by)) is not None:
        return hurried
    if found.target_id in services.at_work(run).values_list("focus", flat=True):
        raise CannotAsk("the crew is asked already")
    if services.at_work(run).exists():
        raise CannotAsk("the crew is at work on another target")
    text = f"asks again: {found}"
    events.record(found.incident, Event.Kind.ASKED, by, text, {"action": found.pk})
    return services.add_step(run, Step.Agent.HEALER, focus=found.target, asked_by=by)


def _hurry(run: CrewRun, target: Target, by: str) -> Step | None:
    """The Healer that waited for a target to heal itself and waits no longer: a person wants to be asked."""
    waiting = run.steps.filter(agent=Step.Agent.HEALER, focus=target, **services.WAITS)
    pk = waiting.values_list("pk", flat=True).first()
    if pk is None or not waiting.filter(pk=pk).update(asked_by=by[:150], due_at=timezone.now()):
        return None
    hint(Step, pk)
    return Step.objects.get(pk=pk)


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
    services.lock_incident(action.incident_id)
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
    incident.status = services.lock_incident(incident.pk).status
    if not services.change(action, Action.Status.EXPIRED):
        return False
    data = {"action": action.pk}
    events.record(incident, Event.Kind.EXPIRED, "policy", f"nobody answered: {action}", data)
    services.follow_actions(incident, actor="policy", text="the question expired; watching on")
    return True
