"""The memory as a tool: what happened before that is like this. What it says is untrusted text."""

from __future__ import annotations

from typing import Any

from agents.tools.base import Case, Health, Integration, Query, Result, ToolError, register, tool
from agents.tools.text import one_line
from incidents import memory

MOST = 3
WORTH_TELLING = 0.5  # of the best one's certainty: beside a sure one, a vague one only distracts
LONGEST = 400  # of each of its texts
CERTAINTY = {"readings": " (proved by a reading then)", "crew": " (the crew's guess then)"}

INTEGRATION = register(
    Integration(
        name="memory",
        configured=lambda: True,
        check=lambda: _health(memory.status()),
        settings=("QDRANT_URL", "EMBEDDING_MODEL"),
    )
)


def _health(status: str) -> Health:
    return Health(status != "disconnected", "; ".join(filter(None, (status, memory.wants_server()))))


@tool(INTEGRATION, always=True)
def recall_incidents(
    case: Case,
    query: Query = None,
) -> Result:
    """Similar past incidents: their cause, what was done, whether that was proved to help, why they match."""
    text = query or " ".join(case.words)
    try:
        found = memory.recall(
            text,
            alert_name=case.alert_name,
            target_kind=case.target_kind,
            exclude_incident=case.incident_id,
            limit=MOST,
        )
    except memory.MemoryUnavailable as error:
        raise ToolError(f"the memory does not answer: {error}", retryable=error.retryable) from error
    best = max((each.score for each in found), default=0.0)
    incidents = [_past(each) for each in found if each.score >= WORTH_TELLING * best]
    lines = [line for each in incidents for line in _lines(each)]
    return Result(
        "\n".join(lines) or "nothing like this yet", {"count": len(incidents), "incidents": incidents}
    )


def _past(found: memory.Recalled) -> dict[str, Any]:
    """An incident as JSON. What the crew had said, and a person corrected, is not in it."""
    told = ("root_cause", "note", "annotated_by", "actions", "remediation_taken", "verdict")
    by = found.payload.get("cause_by") or ("person" if found.payload.get("human_confirmed") else None)
    return {
        "incident": found.incident_id,
        "alert_name": found.alert_name,
        "score": round(found.score, 2),
        "why": list(found.why),
        "cause_by": by,
        **{key: found.payload.get(key) for key in told},
    }


def _lines(incident: dict[str, Any]) -> list[str]:
    why = ", ".join(incident["why"])
    name = incident["incident"] or "of another memory,"
    lines = [f"incident: {name} {incident['alert_name']} (score {incident['score']}: {why})"]
    if incident["cause_by"] == "person":
        lines.append(f"  a person says: {one_line(incident['root_cause'], LONGEST)}")
    else:
        proved = CERTAINTY.get(incident["cause_by"], "")
        lines.append(f"  cause{proved}: {one_line(incident['root_cause'] or 'unknown', LONGEST)}")
    if incident["note"]:
        lines.append(f"  a person notes: {one_line(incident['note'], LONGEST)}")
    done = "; ".join(f"{each['what']}: {each['outcome']}" for each in incident["actions"] or ())
    said = done or incident["remediation_taken"] or "nothing"
    verdict = incident["verdict"] or "none"
    return [*lines, f"  done: {one_line(said, LONGEST)}; verdict: {verdict}"]
