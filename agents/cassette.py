"""An investigation as it was recorded: what each agent was given, and what the tools said to it.

Recorded on the step and in its tool calls; played back to run an agent again without asking the world.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from agents.answers import Answer, Diagnosis, Remediation, Triage
from agents.loop import Brief, Toolbox
from agents.models import Step, ToolCall
from agents.tools import REGISTRY
from agents.tools.base import Case, Result, Tool, ToolError
from incidents.redaction import clean_tree

ANSWER_OF: dict[str, type[Answer]] = {
    Step.Agent.MONITOR: Triage,
    Step.Agent.ANALYST: Diagnosis,
    Step.Agent.HEALER: Remediation,
}
CASE_FIELDS = frozenset(each.name for each in fields(Case))  # an old recording may have more


def record(brief: Brief[Any]) -> dict[str, Any]:
    """A brief as JSON, redacted."""
    case = asdict(brief.case) | {"starts_at": brief.case.starts_at.isoformat()}
    whole = {"case": case, "context": dict(brief.context), "tools": [tool.name for tool in brief.tools]}
    recorded: dict[str, Any] = clean_tree(whole)
    return recorded


def restore(step: Step, found: Mapping[str, Any]) -> Brief[Any]:
    """What an agent was given in a recorded step, with `found` in place of what its colleagues found then."""
    recorded = step.brief or {}
    case = {name: each for name, each in recorded["case"].items() if name in CASE_FIELDS}
    case["starts_at"] = datetime.fromisoformat(case["starts_at"])
    case["candidates"] = tuple(case["candidates"])
    return Brief(
        agent=step.agent,
        case=Case(**case),
        answer=ANSWER_OF[step.agent],
        tools=tuple(REGISTRY[name] for name in recorded["tools"] if name in REGISTRY),
        context={**recorded["context"], **found},
        number=step.number,
    )


@dataclass
class Playback(Toolbox):
    """Answers from recorded calls and asks nobody. The second time a call is made, its second recording."""

    calls: Sequence[ToolCall] = ()
    lacking: list[str] = field(default_factory=list)  # what was asked and is not recorded
    made: Counter[str] = field(default_factory=Counter)

    def _read(self, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        key = _key(tool.checked(arguments))
        recorded = [call for call in self.calls if call.tool == tool.name and _key_of(call, tool) == key]
        if not recorded:
            asked = f"{tool.name} {json.dumps(dict(arguments), sort_keys=True)}"
            self.lacking.append(asked)
            raise ToolError(f"the recording has no such call: {asked}")
        call = recorded[min(self.made[tool.name + key], len(recorded) - 1)]
        self.made[tool.name + key] += 1
        if call.error:
            raise ToolError(call.error)
        return Result(call.output, call.data)


def calls_for(step: Step) -> list[ToolCall]:
    """The recorded calls of a step's run, its own first."""
    calls = ToolCall.objects.filter(step__run=step.run_id).order_by("id")
    return sorted(calls, key=lambda call: call.step_id != step.pk)


def _key(arguments: BaseModel) -> str:
    """The same for a call with its defaults written out and one without."""
    return json.dumps(arguments.model_dump(mode="json"), sort_keys=True)


def _key_of(call: ToolCall, tool: Tool) -> str | None:
    try:
        return _key(tool.checked(call.arguments))
    except ToolError:  # refused then, for its arguments
        return None
