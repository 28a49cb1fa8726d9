"""The ladder: model, fallback, playbooks. The step says which rung worked it, and why not a higher one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from agents import budget, cassette, transcript
from agents.loop import A, AgentFailed, Brief, Limits, Toolbox, run_agent
from agents.models import Step
from agents.reasoners import breaker, rungs, storm
from agents.reasoners import limits as limits_of
from agents.reasoners.openai import ModelError, OpenAIReasoner
from agents.reasoners.playbook import PlaybookReasoner
from agents.reasoners.rungs import Rung

logger = logging.getLogger(__name__)
THINKERS = frozenset({Step.Agent.MONITOR, Step.Agent.ANALYST, Step.Agent.HEALER})
ASK_MODELS = THINKERS | {Step.Agent.POSTMORTEM}
PLAYBOOK_LIMITS = Limits(steps=8, seconds=60.0)


# Two workers are left for looks, actions and messages, however slow the model is.
_slots = threading.BoundedSemaphore(max(1, settings.WORKER_THREADS - 2))


@contextmanager
def slot(agent: str) -> Iterator[bool]:
    """A place to talk to the model from; False when all are taken. Agents that ask no model need none."""
    needs_one = bool(rungs.configured()) and agent in ASK_MODELS
    taken = needs_one and _slots.acquire(blocking=False)
    try:
        yield bool(taken) or not needs_one
    finally:
        if taken:
            _slots.release()


def think(step: Step, brief: Brief[A]) -> A:
    """An agent's answer from the highest rung that can give one; the step keeps the rung and the reason.

    What a rung read before it failed is where the next one begins.
    """
    step.brief = cassette.record(brief)
    toolbox = Toolbox(brief, transcript.recorder(step))
    deadline = time.monotonic() + settings.AGENT_SECONDS
    reasons: list[str] = []
    for rung in rungs.configured():
        try:
            answer = _climb(step, brief, rung, toolbox, deadline)
        except _Down as reason:
            logger.warning("%s goes down from %s: %s", brief.agent, rung.name, reason)
            reasons.append(f"{rung.name}: {reason}")
            continue
        step.rung, step.rung_reason = rung.name, "; ".join(reasons)
        return answer
    step.rung, step.rung_reason = PlaybookReasoner.rung, "; ".join(reasons) or "no model is configured"
    return run_agent(brief, PlaybookReasoner(), toolbox, PLAYBOOK_LIMITS)


def standing() -> tuple[str, str]:
    """Which rung would work a critical incident now, and why not a higher one. Nobody is asked."""
    reasons: list[str] = []
    for rung in rungs.configured():
        why = against_money(rung) or breaker.is_open(breaker.trouble(rung))
        if why is None:
            return rung.name, "; ".join(reasons)
        reasons.append(f"{rung.name}: {why}")
    return PlaybookReasoner.rung, "; ".join(reasons) or "no model is configured"


class _Down(Exception):
    """Why a rung gave no answer."""


def _climb(step: Step, brief: Brief[A], rung: Rung, toolbox: Toolbox, deadline: float) -> A:
    """The answer of a model, or _Down."""
    if why := storm.refusal(step.run.incident, rung):
        raise _Down(why)
    limits = limits_of.left(step, rung, deadline - time.monotonic())
    if isinstance(limits, str):
        raise _Down(limits)
    trouble = breaker.trouble(rung)
    if why := breaker.admit(trouble):
        raise _Down(why)
    reasoner = OpenAIReasoner.for_step(step, rung, seconds=limits.seconds)
    try:
        answer = run_agent(brief, reasoner, toolbox, limits)
    except ModelError as error:
        if error.trouble:
            breaker.failed(rung, str(error), pause=error.pause)
        raise _Down(str(error)) from error
    except AgentFailed as error:  # it answered, if only nonsense
        breaker.healed(trouble)
        raise _Down(str(error)) from error
    breaker.healed(trouble)
    return answer


def against_money(rung: Rung) -> str | None:
    """Why no money may be spent on a rung now. Each call is asked for anew, and by its incident's budget."""
    return None if rung.free else budget.spent_out()
