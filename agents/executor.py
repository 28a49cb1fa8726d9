"""The one place from which the world is changed. It is not an agent; it does what `authorize()` allowed.

`executing` is committed before the call. A step that is found with its action already executing was cut
off in between: the world is looked at, and nothing is done a second time.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from opentelemetry.trace import SpanKind

from agents import counts, crew, judgement, policy, proof, services, transcript
from agents.actions import TargetState, checked, digest, spec_of
from agents.loop import Observation, Request
from agents.models import Action, ActionKind, Step
from agents.rules import Decision, Reason
from agents.tools.base import ToolError
from incidents import events, tally, tracing
from incidents.models import Event, Incident
from incidents.queue import LeaseLost
from incidents.redaction import clean, clean_tree

logger = logging.getLogger(__name__)
Status = Action.Status
HOST_BUSY_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 5.0
# Beside what the change itself takes: for the worker to begin it, and for the engine to tell of it.
MARGIN = timedelta(seconds=20)


def execute(step: Step) -> None:
    action = Action.objects.select_related("incident__target", "target", "step__run").get(
        pk=(step.output or {})["action"]
    )
    if action.status == Status.EXECUTING:
        _reconcile(step, action)
    elif action.status == Status.APPROVED:
        _carry_out(step, action)
    else:
        step.finish(finished_at=timezone.now())  # withdrawn, or finished by a worker that then was cut off


def _carry_out(step: Step, action: Action) -> None:
    spec = spec_of(action)
    try:
        checked(action)
        _keep_evidence(step, action)
        look = proof.observe_target(action.incident, action.target)
        # Last, for the other readings may take minutes, and what a person stops meanwhile must be seen.
        state = spec.state(action)
    except ToolError as error:
        why = f"its state cannot be read, so nothing was done: {error}"
        _stop(step, action, Decision("refuse", (Reason("refuse", "unread", why),)))
        return
    decision = _begin(step, action, state, look)
    if decision is None:
        step.put_back(seconds=HOST_BUSY_SECONDS)
        return
    if decision.effect != "allow":
        _stop(step, action, decision)
        return
    step.renew()  # a worker that was frozen since may have been given up, and its action reconciled
    try:
        with tracing.span(f"action {action.kind}", kind=SpanKind.CLIENT, attributes=_about(action)):
            said = spec.run(action)
    except ToolError as error:
        if error.unanswered:  # the engine may go on though we stopped listening to it
            services.change(action, Status.EXECUTING, result=clean(str(error)))
            step.put_back(seconds=LOOK_AGAIN_SECONDS)
        else:
            _conclude(step, action, Status.FAILED, str(error))
        return
    _conclude(step, action, Status.DONE, said or "done")


def _about(action: Action) -> dict[str, str | int]:
    return {"homelab.action.id": action.pk, "homelab.target": action.target.key}


def _keep_evidence(step: Step, action: Action) -> None:
    """A restart destroys evidence: keep the last log lines, the inspection and the events."""
    kept = spec_of(action).evidence(action)
    text = json.dumps(clean_tree(kept), indent=1, default=str)
    request = Request(id=f"evidence-{action.pk}", tool="evidence", arguments={"target": action.target.key})
    transcript.recorder(step)(Observation(request=request, text="", full=text))


def _begin(step: Step, action: Action, state: TargetState, look: judgement.Look) -> Decision | None:
    """Commit `executing` when the door opens; None when the host is busy with another change.

    Everything is checked anew here, under one lock: the approved digest against today's state, and all
    rules, for minutes may have passed since the proposal.
    """
    try:
        with transaction.atomic():
            services.lock_guard()
            if (overtaken := _overtaken(action)) is not None:
                return Decision("refuse", (overtaken,))
            if digest(action.kind, action.target, action.arguments, state) != action.digest:
                reason = Reason("refuse", "changed", "the target is no longer what was approved")
                return Decision("refuse", (reason,))
            decision = policy.authorize(
                action, state=state, fault=look.state, fault_reason=look.reason, approved=action.by_person
            )
            if any(reason.code == "in_flight" for reason in decision.reasons):
                return None
            if decision.effect == "allow":
                _mark_executing(step, action, state, look)
            return decision
    except IntegrityError:  # another worker began a change on this host in this moment
        return None


def _overtaken(action: Action) -> Reason | None:
    """Why a yes holds no longer: its incident is not waiting for it, or it is too old to be meant still."""
    incident = services.lock_incident(action.incident_id)
    if incident.status != Incident.Status.ACTING or services.is_over(action.step.run):
        return Reason("refuse", "over", f"the incident is {incident.get_status_display()} by now")
    age = timezone.now() - (action.decided_at or action.proposed_at)
    if age > timedelta(seconds=settings.APPROVAL_SECONDS):
        minutes = int(age.total_seconds() // 60)
        return Reason("refuse", "late", f"decided {minutes} min ago, which is too long to be acted on")
    return None


def _mark_executing(step: Step, action: Action, state: TargetState, look: judgement.Look) -> None:
    now = timezone.now()
    # Kept for whoever concludes it: what has samples now must have some again before it counts as cleared.
    if not step.save_progress(output={**(step.output or {}), "fresh": list(look.fresh)}):
        raise LeaseLost(f"{step}: taken over before its action began")
    seen = {**services.snapshot(state), "fault": look.state.value}
    if not services.change(action, Status.EXECUTING, executing_at=now, target_state=seen):
        raise LeaseLost(f"{action}: taken over before it began")
    events.record(
        action.incident, Event.Kind.EXECUTING, "executor", f"begins: {action}", {"action": action.pk}
    )


def _reconcile(step: Step, action: Action) -> None:
    """Nobody heard the result of what was begun: ask the world what happened, never do it again."""
    found = what_became_of(action)
    if found is None:
        step.put_back(seconds=LOOK_AGAIN_SECONDS)  # the engine may be at it, though nobody listens any more
    else:
        _conclude(step, action, *found)


def what_became_of(action: Action) -> tuple[Action.Status, str] | None:
    """The end of an action whose result nobody heard, by what the world shows; None while the engine may be
    at it.
    """
    spec = spec_of(action)
    why = action.result or "the worker was cut off"
    if spec.happened(action, action.target_state):
        return Status.DONE, f"done, as the target shows; {why}"
    began = action.executing_at or timezone.now()
    if timezone.now() - began < MARGIN + timedelta(seconds=spec.under_way(action)):
        return None
    return Status.UNKNOWN, f"{why}, and the target does not show that it was done; not repeated"


def _conclude(step: Step, action: Action, status: Action.Status, text: str) -> None:
    """Commit an action's result and begin the proof."""
    mends = ActionKind(action.kind).mends
    newer_than = proof.Clock().now() if mends else None
    series = tuple((step.output or {}).get("fresh", ())) if mends else ()
    with transaction.atomic():
        if not step.finish(finished_at=timezone.now()):
            return
        incident = services.lock_incident(action.incident_id)
        record_end(incident, action, status, text)
        if incident.status != Incident.Status.ACTING or services.is_over(step.run):
            return  # a person closed it meanwhile
        services.follow_actions(incident, actor="executor", text="watching whether it helped")
        crew.begin_watch(step, incident, newer_than=newer_than, series=series)
        if status != Status.DONE:
            services.add_step(step.run, Step.Agent.COMMUNICATOR, focus=action.target)


def record_end(incident: Incident, action: Action, status: Action.Status, text: str) -> None:
    """Write an executed action's result, as one worker only, and say it on the timeline."""
    if not services.change(action, status, finished_at=timezone.now(), result=clean(text)):
        return
    why = action.result.partition("\n")[0]  # of a command's output the first line: others may read events
    said = f"{action}: {status.label}" + ("" if status == Status.DONE else f" ({why})")
    data = {"action": action.pk, "status": status}
    events.record(incident, Event.Kind.EXECUTED, "executor", said, data)
    if status == Status.DONE and ActionKind(action.kind).mends:
        done = "; ".join(filter(None, (incident.remediation_taken, str(action))))
        Incident.objects.filter(pk=incident.pk).update(remediation_taken=done)


def _stop(step: Step, action: Action, decision: Decision) -> None:
    """Nothing was done, and nothing will be by this action; watch on and tell."""
    why = clean(decision.text)
    with transaction.atomic():
        if not step.finish(finished_at=timezone.now()):
            return
        incident = services.lock_incident(action.incident_id)
        services.change(action, Status.WITHDRAWN, result=why)
        tally.add(counts.refused(decision.reasons))
        data = {"action": action.pk, "reasons": decision.as_json()}
        events.record(incident, Event.Kind.REFUSED, "authorize", f"{action}: {why}", data)
        if incident.status == Incident.Status.ACTING and not services.is_over(step.run):
            services.follow_actions(incident, actor="executor", text="no action; watching")
            crew.begin_watch(step, incident)
            services.add_step(step.run, Step.Agent.COMMUNICATOR, focus=action.target)
