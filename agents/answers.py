"""The typed answers that end an agent's turn. A model calls them as tools, playbooks return them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

Certainty = Literal["CONFIRMED", "LIKELY", "INCONCLUSIVE"]
Text = Annotated[str, Field(min_length=1, max_length=2000)]


Kind = Literal[
    "restart_container", "start_container", "stop_container", "create_silence", "run_maintenance", "none"
]


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Triage(Answer):
    """The Monitor's answer: is the alert real, and what does it touch?"""

    state: Literal["firing", "cleared", "unknown"] = Field(description="The alert's own expression, now")
    affected: list[str] = Field(default_factory=list, max_length=20, description="Targets or instances")
    summary: Text


class Claim(Answer):
    """One statement with its proof: a tool call of this incident and a literal piece of its output."""

    text: Text
    call_id: str = Field(max_length=80, description="Id of that tool call")
    quote: str = Field(min_length=1, max_length=500, description="Copied exactly from that output")


class Diagnosis(Answer):
    """The Analyst's answer: why. Claims whose quote is not in the output are struck by code."""

    cause: Text
    certainty: Certainty
    claims: list[Claim] = Field(default_factory=list, max_length=8)
    dropped: list[str] = Field(
        default_factory=list, max_length=8, description="Hypotheses weighed and dropped"
    )
    code: SkipJsonSchema[str] = Field(default="", max_length=80)  # the playbook's cause; no model's business


class Remediation(Answer):
    """The Healer's answer: the least disruptive action, or none. It is a proposal; code decides."""

    action: Kind
    target: str | None = Field(default=None, max_length=300, description="Inventory key, docker:host/name")
    reason: Text
    minutes: int | None = Field(default=None, description="Of a silence, which mends nothing")
    maintenance: str | None = Field(default=None, max_length=60, description="Its name")
    parameters: list[str] = Field(default_factory=list, max_length=20, description="Of it, as name=value")

    def given(self) -> dict[str, Any]:
        """What the action takes; what belongs to another action is nobody's business."""
        if self.action == "create_silence":
            return {} if self.minutes is None else {"minutes": self.minutes}
        if self.action == "run_maintenance":
            pairs = (each.partition("=") for each in self.parameters)
            return {"name": self.maintenance or "", "parameters": {name: value for name, _, value in pairs}}
        return {}


class Message(Answer):
    """The Communicator's answer."""

    body: Annotated[str, Field(min_length=1, max_length=4000)]


class PostmortemSummary(Answer):
    """The postmortem's summary: what happened, in a paragraph. Code drops it when the facts do not say so."""

    summary: Annotated[str, Field(min_length=1, max_length=1500)]
    verdict: Literal[
        "open",
        "verified",
        "cleared_before_action",
        "resolved_by_human",
        "not_fixed",
        "relapsed",
        "unknown",
        "false_alarm",
    ] = Field(description="As it is in the facts")


ANSWERS: dict[str, type[Answer]] = {
    "submit_triage": Triage,
    "submit_diagnosis": Diagnosis,
    "submit_remediation": Remediation,
    "submit_message": Message,
    "submit_summary": PostmortemSummary,
}


def terminal_tool(form: type[Answer]) -> str:
    """The name of the tool that takes an answer of this form, or of one that it was narrowed from."""
    return next(name for name, answer in ANSWERS.items() if issubclass(form, answer))
