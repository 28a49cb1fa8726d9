"""What an agent may still spend on a model: its own limit, or what its incident has left."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

from agents.budget import OF_INCIDENT
from agents.loop import Limits
from agents.models import ModelCall, Step
from agents.reasoners.rungs import Rung

CALLS = f"""
SELECT id, step_id, error, input_tokens, output_tokens, seconds, cost_usd, reserved_usd
FROM agents_modelcall WHERE {OF_INCIDENT.format("%s")}"""  # noqa: S608 our own names


def left(step: Step, rung: Rung, seconds: float) -> Limits | str:
    """Limits for the step's next conversation, or which one leaves nothing of it.

    `seconds` is what the step has left. Calls of earlier attempts and of higher rungs count, those that were
    not answered by their seconds only. So does a call whose usage the server did not tell, and as a step.
    """
    # There are few: a statement that sums them up takes longer to write than these to read.
    calls = list(ModelCall.objects.raw(CALLS, [step.run.incident_id]))
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


def _steps(calls: Iterable[ModelCall]) -> int:
    return sum(not call.error for call in calls)


def _tokens(calls: Iterable[ModelCall]) -> int:
    return sum((call.input_tokens or 0) + (call.output_tokens or 0) for call in calls)


def _dollars(cap: float | None, calls: Iterable[ModelCall], rung: Rung) -> float | None:
    """What is left of a cap, counted as the budgets do: a lost call with what it may cost."""
    if cap is None or rung.free:
        return None
    spent = (call.reserved_usd if call.cost_usd is None else call.cost_usd for call in calls)
    return cap - float(sum(each or 0 for each in spent))
