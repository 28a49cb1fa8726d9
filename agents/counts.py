"""What is counted of the crew's work, as changes of the tally, in the transactions that make it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from django.utils import timezone

from agents.models import Action, ModelCall, Step
from agents.rules import Decision, Reason
from incidents import rawsql
from incidents.tally import NANO, Change, one, seconds

RECALL = "recall_incidents"
READINGS = "SELECT tool, error, seconds FROM agents_toolcall WHERE step_id = {}"
NO_RUNG = "template"  # the Communicator's words
# What `Action.Status` is in metrics; the others are no end of anything.
OUTCOMES = {
    Action.Status.APPROVED: "approved",
    Action.Status.REJECTED: "rejected",
    Action.Status.EXPIRED: "expired",
    Action.Status.DONE: "executed",
    Action.Status.FAILED: "failed",
    Action.Status.UNKNOWN: "unknown",
}


def turn(step: Step, outcome: str) -> list[Change]:
    """An agent's turn that ended, and the readings that were made in it."""
    now, rung = timezone.now(), step.rung or NO_RUNG
    changes = [one("agent_runs", step.agent, rung, outcome)]
    if step.started_at is not None:
        took = (now - step.started_at).total_seconds()
        changes += seconds("agent_duration", step.agent, rung, took=max(0.0, took))
    if step.agent == Step.Agent.MONITOR and step.number == 1 and step.run.number == 1:
        incident = step.run.incident
        waited = (now - incident.opened_at).total_seconds()
        changes += seconds("response", incident.severity_class, took=max(0.0, waited))
    readings = rawsql.rows(READINGS, step.pk) if step.brief else []  # who had no brief had no tools
    for tool, error, spent in readings:
        changes.append(one("tool_calls", tool, "error" if error else "ok"))
        if spent is not None:
            changes += seconds("tool_duration", tool, took=spent)
        if tool == RECALL and spent is not None:
            changes += seconds("memory_search", took=spent)
    return changes


def model_call(call: ModelCall, worked: Step | None, cost: Decimal | None) -> list[Change]:
    """A call that was answered or failed. `worked`: the step that it was made for, or replays."""
    agent = worked.agent if worked else "none"
    changes = [one("model_requests", call.model, agent, "failed" if call.error else "answered")]
    tokens = {
        "input": call.input_tokens,
        "cached": call.cached_tokens,
        "output": call.output_tokens,
        "reasoning": call.reasoning_tokens,
    }
    changes += [one("model_tokens", call.model, agent, kind, times=n) for kind, n in tokens.items() if n]
    if cost is None:
        return [*changes, one("model_unpriced", call.model)]
    nanos = int(cost * NANO)
    changes.append(one("model_cost", call.model, agent, times=nanos))
    if call.step is not None:  # a replay is no part of what an incident costs
        changes.append(one("incident_cost", call.step.run.incident.alert_name, times=nanos))
    return changes


def moved(action: Action, to: Action.Status) -> list[Change]:
    """An action that goes to another status."""
    return [one("actions", action.kind, OUTCOMES[to])] if to in OUTCOMES and action.status != to else []


def proposed(action: Action, decision: Decision) -> list[Change]:
    refusals = refused(decision.reasons) if decision.effect == "refuse" else []
    return [one("actions", action.kind, "proposed"), *refusals]


def refused(reasons: Iterable[Reason]) -> list[Change]:
    return [one("refusals", reason.code) for reason in reasons if reason.effect == "refuse"]
