"""The one place from which the world is changed. It is not an agent; it does what `authorize()` allowed.

`executing` is committed before the call. A step that is found with its action already executing was cut
off in between: the world is looked at, and nothing is done a second time.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from agents import crew, policy, proof, services, transcript
from agents.actions import TargetState, digest, spec_of
from agents.loop import Observation, Request
from agents.models import Action, Step
from agents.policy import Decision
from agents.tools.base import ToolError
from incidents import services as incident_services
from incidents.models import Event, Incident
from incidents.queue import LeaseLost
from incidents.redaction import clean

logger = logging.getLogger(__name__)
Status = Action.Status
HOST_BUSY_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 5.0
# An engine gives a container 10 s to stop, and we wait 15 s for its answer.
STILL_UNDER_WAY = timedelta(seconds=45)


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
        _keep_evidence(step, action)
        state = spec.state(action.target)
    except ToolError as error:
        _stop(step, action, Status.FAILED, f"its state cannot be read, so nothing was done: {error}")
        return
    look = proof.observe(action.incident)
    decision = _begin(step, action, state, look)
    if decision is None:
        step.put_back(seconds=HOST_BUSY_SECONDS)
        return
    if decision.effect != "allow":
        _stop(step, action, Status.WITHDRAWN, decision.text)
        return
    try:
        spec.run(action.target)
    except ToolError as error:
        # The engine may have gone on after we stopped listening to it.
        happened = spec.happened(action.target, action.target_state.get("started_at"))
        status = {True: Status.DONE, False: Status.FAILED, None: Status.UNKNOWN}[happened]
        _conclude(step, action, status, str(error), look.fresh)
        return
    _conclude(step, action, Status.DONE, "done", look.fresh)


def _keep_evidence(step: Step, action: Action) -> None:
    """A restart destroys evidence: keep the last log lines, the inspection and the events."""
    kept = spec_of(action).evidence(action.target)
    text = clean(json.dumps(kept, indent=1, default=str))
    request = Request(id=f"evidence-{action.pk}", tool="evidence", arguments={"target": action.target.key})
    transcript.recorder(step)(Observation(request=request, text="", full=text))


def _begin(step: Step, action: Action, state: TargetState, look: proof.Look) -> Decision | None:
    """Commit `executing` when the door opens; None when the host is busy with another change.

    Everything is checked anew here, under one lock: the approved digest against today's state, and all
    rules, for minutes may have passed since the proposal.
    """
    try:
        with transaction.atomic():
            services.lock_guard()
            if digest(action.kind, action.target, action.arguments, state) != action.digest:
                reason = policy.Reason("refuse", "changed", "the target is no longer what was approved")
                return Decision("refuse", (reason,))
            by_person = action.decided_by not in ("", "policy")
            decision = policy.authorize(
                action, state=state, fault=look.state, fault_reason=look.reason, approved=by_person
            )
            if any(reason.code == "in_flight" for reason in decision.reasons):
                return None
            if decision.effect == "allow":
                _mark_executing(step, action, state)
            return decision
    except IntegrityError:  # another worker began a change on this host in this moment
        return None


def _mark_executing(step: Step, action: Action, state: TargetState) -> None:
    now = timezone.now()
    step.renew()
    if not services.change(action, Status.EXECUTING, executing_at=now, target_state=services.snapshot(state)):
        raise LeaseLost(f"{action}: taken over before it began")
    incident_services.record(
        action.incident, Event.Kind.EXECUTING, "executor", spec_of(action).touches(action.target)
    )


def _reconcile(step: Step, action: Action) -> None:
    """Cut off between the commit and its result: ask the world what happened, never do it again."""
    happened = spec_of(action).happened(action.target, action.target_state.get("started_at"))
    began = action.executing_at or timezone.now()
    if not happened and timezone.now() - began < STILL_UNDER_WAY:
        step.put_back(seconds=LOOK_AGAIN_SECONDS)  # the engine may be at it, though nobody listens any more
    elif happened:
        _conclude(step, action, Status.DONE, "done; the worker was cut off before it could say so", ())
    else:
        text = "the worker was cut off, and the target does not show that it was done; not repeated"
        _conclude(step, action, Status.UNKNOWN, text, ())


def _conclude(step: Step, action: Action, status: Action.Status, text: str, series: tuple[str, ...]) -> None:
    """Commit an action's result and begin the proof."""
    newer_than = proof.Clock().now()
    incident = action.incident
    with transaction.atomic():
        if not step.finish(finished_at=timezone.now()):
            return
        services.change(action, status, finished_at=timezone.now(), result=clean(text))
        said = f"{action}: {status.label}" + ("" if status == Status.DONE else f" ({action.result})")
        data = {"action": action.pk, "status": status}
        incident_services.record(incident, Event.Kind.EXECUTED, "executor", said, data)
        incident.refresh_from_db()
        if status == Status.DONE:
            done = "; ".join(filter(None, (incident.remediation_taken, str(action))))
            Incident.objects.filter(pk=incident.pk).update(remediation_taken=done)
        if incident.status != Incident.Status.ACTING:
            return  # a person closed it meanwhile
        incident_services.transition(
            incident, Incident.Status.PROVING, actor="executor", text="watching whether it helped"
        )
        progress = proof.begin(incident, action=proof.begun(step.run), newer_than=newer_than, series=series)
        services.add_step(step.run, Step.Agent.PROOF, after=1.0, output=progress.as_json())
        if status != Status.DONE:
            services.add_step(step.run, Step.Agent.COMMUNICATOR)


def _stop(step: Step, action: Action, status: Action.Status, why: str) -> None:
    """Nothing was done, and nothing will be by this action; watch on and tell."""
    incident = action.incident
    with transaction.atomic():
        if not step.finish(finished_at=timezone.now()):
            return
        services.change(action, status, result=clean(why))
        incident_services.record(
            incident, Event.Kind.REFUSED, "authorize", f"{action}: {why}", {"action": action.pk}
        )
        incident.refresh_from_db()
        if incident.status == Incident.Status.ACTING:
            incident_services.transition(
                incident, Incident.Status.PROVING, actor="executor", text="no action; watching"
            )
            crew.begin_watch(step, incident)
            services.add_step(step.run, Step.Agent.COMMUNICATOR)
