"""What an agent may still spend on a model: its own limit, or what its incident has left."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from django.conf import settings

from agents.budget import OF_INCIDENT
from agents.loop import Limits
from agents.models import Step
from agents.reasoners.rungs import Rung
from incidents import rawsql

CALLS = f"""
SELECT step_id, error, input_tokens, output_tokens, seconds, cost_usd, reserved_usd
FROM agents_modelcall WHERE {OF_INCIDENT}"""  # noqa: S608 our own names


class Made(NamedTuple):
    """What counts of a call. SQLite gives dollars as floats."""

    step_id: int
    error: str
    input_tokens: int | None
    output_tokens: int | None
    seconds: float | None
    cost_usd: Decimal | float | None
    reserved_usd: Decimal | float | None


def left(step: Step, rung: Rung, seconds: float) -> Limits | str:
    """Limits for the step's next conversation, or which one leaves nothing of it.

    `seconds` is what the step has left. Calls of earlier attempts and of higher rungs count, those that were
    not answered by their seconds only. So does a call whose usage the server did not tell, and as a step.
    """
    # There are few: a statement that sums them up takes longer to write than these to read.
    calls = [Made(*row) for row in rawsql.rows(CALLS, step.run.incident_id)]
    mine = [call for call in calls if call.step_id == step.pk]
    own = _dollars(settings.AGENT_USD, mine, rung)
    shared = _dollars(settings.LLM_BUDGET_INCIDENT_USD, calls, rung)
    rest = Limits(
        steps=min(settings.AGENT_STEPS - _steps(mine), settings.INCIDENT_STEPS - _steps(calls)),
        tokens=min(settings.AGENT_TOKENS - _tokens(mine), settings.INCIDENT_TOKENS - _tokens(calls)),
        seconds=min(seconds, settings.INCIDENT_SECONDS - sum(call.seconds or 0.0 for call in calls)),
        usd=min((each for each in (own, shared) if each is not None), default=None),
    )
    # that the incident's money is spent is for its budget to say, when the call is reserved
    for name, value in {**vars(rest), "usd": own}.items():
        if value is not None and value <= 0:
            return f"the limit of {name} of the agent or of its incident is reached"
    return rest


def _steps(calls: Iterable[Made]) -> int:
    return sum(not call.error for call in calls)


def _tokens(calls: Iterable[Made]) -> int:
    return sum((call.input_tokens or 0) + (call.output_tokens or 0) for call in calls)


def _dollars(cap: float | None, calls: Iterable[Made], rung: Rung) -> float | None:
    """What is left of a cap, counted as the budgets do: a lost call with what it may cost."""
    if cap is None or rung.free:
        return None
    spent = (call.reserved_usd if call.cost_usd is None else call.cost_usd for call in calls)
    return cap - float(sum(Decimal(str(each or 0)) for each in spent))
