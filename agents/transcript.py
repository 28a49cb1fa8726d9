"""What an agent saw, as rows: written as it happens, read back for the evidence check and the next agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.loop import Observation
from agents.models import CrewRun, Step, ToolCall
from incidents.models import Target


def recorder(step: Step) -> Callable[[Observation], None]:
    """Writes each observation of a step as a row, at once."""

    def record(observation: Observation) -> None:
        ToolCall.objects.create(
            step=step,
            attempt=step.attempts,
            call_id=observation.request.id,
            tool=observation.request.tool,
            arguments=dict(observation.request.arguments or {}),
            output=observation.full,
            data=dict(observation.data),
            shown=len(observation.text),
            error=observation.error,
            seconds=observation.seconds,
        )

    return record


def outputs(run: CrewRun) -> dict[str, str]:
    """Call id to whole stored output, of every step of a run."""
    return dict(ToolCall.objects.filter(step__run=run).values_list("call_id", "output"))


def answer_of(run: CrewRun, agent: Step.Agent, focus: Target | None = None) -> dict[str, Any] | None:
    """An agent's last typed answer in a run, about one target when that is given."""
    steps = run.steps.filter(agent=agent, state="done")
    step = (steps.filter(focus=focus) if focus else steps).order_by("-number").first()
    return step.output if step else None
