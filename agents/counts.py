"""What is counted of the crew's work, as changes of the tally, in the transactions that make it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone

from agents.models import Action, ModelCall, Step
from agents.rules import Decision, Reason
from agents.tools import REGISTRY
from incidents import rawsql
from incidents.redaction import clean
from incidents.tally import NANO, Change, one, seconds

RECALL = "recall_incidents"
# Those of a step that were not counted when it died before: a person may let it live again.
READINGS = """
SELECT tool, error, seconds FROM agents_toolcall reading WHERE step_id = {} AND NOT EXISTS (
    SELECT 1 FROM incidents_event said WHERE said.incident_id = {} AND said.kind = 'agent'
    AND said.at > reading.started_at AND CAST(said.data ->> 'step' AS BIGINT) = reading.step_id
) ORDER BY id"""
UNKNOWN_TOOL = "(unknown)"  # a model may ask for any
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
    """An agent's turn that ended, and the readings that were made in it. Before the timeline says so."""
    rung = step.rung or NO_RUNG
    changes = [one("agent_runs", step.agent, rung, outcome)]
    if step.turn_began is not None:
        took = time.monotonic() - step.turn_began
        changes += seconds("agent_duration", step.agent, rung, took=took)
    incident = step.run.incident
    first = step.agent == Step.Agent.MONITOR and step.number == 1 and step.run.number == 1
    if first and outcome == "answered":
        waited = (timezone.now() - incident.opened_at).total_seconds()
        changes += seconds("response", incident.severity_class, took=max(0.0, waited))
    # Who had no brief had no tools.
    readings = rawsql.rows(READINGS, step.pk, incident.pk) if step.brief else []
    for name, error, spent in readings:
        tool = name if name in REGISTRY else UNKNOWN_TOOL
        changes.append(one("tool_calls", tool, "error" if error else "ok"))
        if spent is not None:
            changes += seconds("tool_duration", tool, took=spent)
        if tool == RECALL and spent is not None:
            changes += seconds("memory_search", took=spent)
    return changes


def model_call(call: ModelCall, worked: Step | None, cost: Decimal | None, *, asked: str) -> list[Change]:
    """A call that was answered or failed. `worked`: the step that it was made for, or replays.

    `asked`: the model as it is configured; a server may answer with any name, and each would be a series.
    """
    agent = worked.agent if worked else "none"
    changes = [one("model_requests", asked, agent, "failed" if call.error else "answered")]
    tokens = {
        "input": call.input_tokens,
        "cached": call.cached_tokens,
        "output": call.output_tokens,
        "reasoning": call.reasoning_tokens,
    }
    changes += [one("model_tokens", asked, agent, kind, times=n) for kind, n in tokens.items() if n]
    if cost is None:
        return [*changes, one("model_unpriced", asked)]
    nanos = int(cost * NANO)
    day = timezone.localtime(call.started_at, ZoneInfo(settings.TIME_ZONE)).date().isoformat()
    changes += [one("model_cost", asked, agent, times=nanos), one("spent", day, times=nanos)]
    if call.step is not None:  # a replay is no part of what an incident costs
        changes.append(one("incident_cost", clean(call.step.run.incident.alert_name), times=nanos))
    return changes


def moved(action: Action, to: Action.Status) -> list[Change]:
    """An action that goes to another status."""
    return [one("actions", action.kind, OUTCOMES[to])] if to in OUTCOMES and action.status != to else []


def proposed(action: Action, decision: Decision) -> list[Change]:
    refusals = refused(decision.reasons) if decision.effect == "refuse" else []
    return [one("actions", action.kind, "proposed"), *refusals]


def refused(reasons: Iterable[Reason]) -> list[Change]:
    return [one("refusals", reason.code) for reason in reasons if reason.effect == "refuse"]
