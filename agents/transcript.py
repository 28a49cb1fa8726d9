"""What an agent saw, as rows: written as it happens, read back for the evidence check and the next agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.loop import Observation
from agents.models import CrewRun, Step, ToolCall
from incidents.models import Target
from incidents.redaction import clean_tree

RECALL = "recall_incidents"


def recorder(step: Step) -> Callable[[Observation], None]:
    """Writes each observation of a step as a row, at once."""

    def record(observation: Observation) -> None:
        ToolCall.objects.create(
            step=step,
            attempt=step.fence,
            call_id=observation.request.id,
            tool=observation.request.tool,
            arguments=clean_tree(observation.request.arguments or {}),
            output=observation.full,
            data=dict(observation.data),
            shown=len(observation.text),
            error=observation.error,
            seconds=observation.seconds,
        )

    return record


def outputs(run: CrewRun, *, but: Step | None = None) -> tuple[dict[str, str], set[str]]:
    """Call id to whole stored output, of every step of a run but one; and which of them tell of the past."""
    calls = ToolCall.objects.filter(step__run=run)
    if but is not None:
        calls = calls.exclude(step=but)
    rows = list(calls.values_list("call_id", "tool", "output"))
    return {pk: output for pk, _, output in rows}, {pk for pk, tool, _ in rows if tool == RECALL}


def answer_of(run: CrewRun, agent: Step.Agent, focus: Target | None = None) -> dict[str, Any] | None:
    """An agent's last typed answer in a run, about one target when that is given."""
    step = last(run, agent, focus)
    return step.output if step else None


def last(run: CrewRun, agent: Step.Agent, focus: Target | None = None) -> Step | None:
    """An agent's last answered step, about one target when that is given. Not loaded: its long brief."""
    answered = run.steps.filter(agent=agent, state="done", output__isnull=False)
    steps = answered.only("run", "output", "rung", "rung_reason")
    return (steps.filter(focus=focus) if focus else steps).order_by("-number").first()
