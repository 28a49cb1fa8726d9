"""The ladder: model, then playbooks. Which rung worked a step, and why not a higher one, is on the step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from agents import transcript
from agents.budget import spent_out
from agents.loop import A, AgentFailed, Brief, Limits, Reasoner, Toolbox, run_agent
from agents.models import Step
from agents.reasoners import openai
from agents.reasoners.playbook import PlaybookReasoner

logger = logging.getLogger(__name__)
THINKERS = frozenset({Step.Agent.MONITOR, Step.Agent.ANALYST, Step.Agent.HEALER})


# Two workers are left for looks, actions and messages, however slow the model is.
_slots = threading.BoundedSemaphore(max(1, settings.WORKER_THREADS - 2))


@contextmanager
def slot(agent: str) -> Iterator[bool]:
    """A place to talk to the model from; False when all are taken. Agents that ask no model need none."""
    needs_one = openai.configured() and agent in THINKERS
    taken = needs_one and _slots.acquire(blocking=False)
    try:
        yield bool(taken) or not needs_one
    finally:
        if taken:
            _slots.release()


def think(step: Step, brief: Brief[A], limits: Limits) -> A:
    """An agent's answer from the highest rung that can give one; the step keeps the rung and the reason."""
    reasoner, why_not = _model(step, brief)
    if reasoner is not None:
        try:
            return _run(step, brief, reasoner, limits)
        except (AgentFailed, openai.ModelError) as error:
            why_not = str(error)
            logger.warning("%s goes down to playbooks: %s", brief.agent, why_not)
    step.rung_reason = why_not
    return _run(step, brief, PlaybookReasoner(), limits)


def _model(step: Step, brief: Brief[Any]) -> tuple[Reasoner | None, str]:
    """The model's reasoner, or why there is none."""
    if not openai.configured():
        return None, "no model is configured"
    if why := spent_out():
        return None, why
    return openai.OpenAIReasoner.from_settings(step), ""


def _run(step: Step, brief: Brief[A], reasoner: Reasoner, limits: Limits) -> A:
    step.rung = reasoner.rung
    return run_agent(brief, reasoner, Toolbox(brief, transcript.recorder(step)), limits)
