"""The memory as a tool: what happened before that is like this. What it says is untrusted text."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agents.tools.base import Case, Health, Integration, Result, ToolError, register, tool
from incidents import memory

INTEGRATION = register(
    Integration(
        name="memory",
        configured=lambda: True,
        check=lambda: Health(memory.status() != "disconnected", memory.status()),
        settings=("QDRANT_URL", "EMBEDDING_MODEL"),
    )
)


@tool(INTEGRATION, always=True)
def recall_incidents(
    case: Case,
    query: Annotated[
        str | None, Field(description="What to look for; the alert itself when left out")
    ] = None,
) -> Result:
    """Similar past incidents: their cause, what was done, and whether that was proved to help."""
    text = query or " ".join((case.alert_name, *case.annotations.values()))
    try:
        found = memory.recall(
            text,
            alert_name=case.alert_name,
            target_kind=case.target_kind,
            exclude_incident=case.incident_id,
            limit=3,
        )
    except memory.MemoryUnavailable as error:
        raise ToolError(f"the memory does not answer: {error}", retryable=error.retryable) from error
    incidents = [_past(each) for each in found]
    lines = [line for each in incidents for line in _lines(each)]
    return Result(
        "\n".join(lines) or "nothing like this yet", {"count": len(incidents), "incidents": incidents}
    )


def _past(found: memory.Recalled) -> dict[str, Any]:
    told = ("root_cause", "remediation_taken", "verdict")
    return {
        "incident": found.incident_id,
        "alert_name": found.alert_name,
        "score": round(found.score, 2),
        "why": list(found.why),
        **{key: found.payload.get(key) for key in told},
    }


def _lines(incident: dict[str, Any]) -> list[str]:
    why = ", ".join(incident["why"])
    return [
        f"incident: {incident['incident']} {incident['alert_name']} (score {incident['score']}: {why})",
        f"  cause: {incident['root_cause'] or 'unknown'}",
        f"  done: {incident['remediation_taken'] or 'nothing'}; verdict: {incident['verdict'] or 'none yet'}",
    ]
