"""The crew's state machine: one short task per step, each claimed, each committed with what follows it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.db import transaction
from django.utils import timezone

from agents import counts, crew, executor, reasoners, services, spans, stranded, watch
from agents.models import CrewRun, Step
from incidents import events, tally, tracing
from incidents.models import Event, Incident
from incidents.queue import State, shift, working
from incidents.rawsql import follow

logger = logging.getLogger(__name__)
AGAIN_SECONDS = 5.0
# So long a worker goes on with what follows a step. A message for each costs more than a playbook's step.
SHIFT_SECONDS = 1.0
AGENTS = (*reasoners.ASK_MODELS, Step.Agent.COMMUNICATOR)
# Their turns come after the end, too: the executor settles what it began, and begins nothing.
AFTER_THE_END = (*services.TELLERS, Step.Agent.EXECUTOR)
HANDLERS = {
    Step.Agent.MONITOR: crew.monitor,
    Step.Agent.ANALYST: crew.analyst,
    Step.Agent.HEALER: crew.healer,
    Step.Agent.EXECUTOR: executor.execute,
    Step.Agent.PROOF: watch.look,
    Step.Agent.COMMUNICATOR: crew.communicate,
    Step.Agent.POSTMORTEM: crew.summarize,
}


def advance(pk: int) -> None:
    """Take a step's turn, if it is due and nobody else has it, and then that of the step which follows it.

    Of several that follow, the others go to other workers; and all do after SHIFT_SECONDS.
    """
    ends = time.monotonic() + SHIFT_SECONDS
    step: Step | None = Step.queue.claim(pk, when_dead=_abandon)
    while step is not None:
        with shift(step, ends) as mine:
            _advance(step)
        step = mine.following


def _advance(step: Step) -> None:
    step.turn_began = time.monotonic()
    follow(step, "run", "incident", "target")
    thinks = step.agent in AGENTS
    with tracing.work(
        step.run.incident,
        f"invoke_agent {step.agent}" if thinks else step.agent,
        attributes={**(spans.agent(step.agent) if thinks else {}), "homelab.step.fence": step.fence},
        agent=step.agent,
        step=step.pk,
    ):
        try:
            _take(step)
        finally:
            if step.state == State.DEAD:
                _abandon(step)


def _take(step: Step) -> None:
    incident = step.run.incident
    over = incident.status == Incident.Status.CLOSED or step.run.finished_at is not None
    if over and step.agent not in AFTER_THE_END:
        step.finish(finished_at=timezone.now())
        return
    if step.agent == Step.Agent.HEALER and services.has_open_action(incident, step.focus):
        step.postpone(seconds=AGAIN_SECONDS)  # one change of a target at a time
        return
    with reasoners.slot(step.agent) as free:
        if not free:
            step.postpone(seconds=1.0)
            return
        with working(step):
            try:
                _handler(step)(step)
            except services.NotNow as reason:
                logger.info("%s: %s", step, reason)
                step.put_back(seconds=AGAIN_SECONDS)


def _handler(step: Step) -> Callable[[Step], None]:
    if step.run.incident.taken_over_at is not None and step.agent in reasoners.THINKERS:
        return crew.leave
    return HANDLERS[Step.Agent(step.agent)]


def _abandon(step: Step) -> None:
    """A step that died is never silence: the timeline says so, people are told, the watch goes on."""
    logger.error("%s is dead: %s", step, step.error)
    text = f"{step.agent} gave up: {step.error}"
    with transaction.atomic():
        if step.agent in AGENTS:
            tally.add(counts.turn(step, "failed"))
        events.record(step.run.incident, Event.Kind.AGENT, step.agent, text, {"step": step.pk})
    if step.agent not in services.TELLERS:
        stranded.settle(step.run)  # when this is cut off, too, the sweep does it


def start_waiting_runs() -> int:
    """Begin what a lost signal left: new incidents without an open run."""
    waiting = Incident.objects.filter(status=Incident.Status.NEW).values_list("pk", flat=True)[:100]
    return sum(services.start_run(pk) is not None for pk in list(waiting))


def close_run(incident_id: int) -> None:
    """A verdict was given: end the run and let the Communicator say it."""
    incident = Incident.objects.get(pk=incident_id)
    run = CrewRun.objects.filter(incident=incident, finished_at=None).first()
    if run is None:
        return
    services.finish_run(incident)
    services.add_step(run, Step.Agent.COMMUNICATOR)
