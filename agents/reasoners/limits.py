"""What an agent may still spend on a model: its own limit, or what its incident has left."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Count, Q, Sum
from django.db.models.functions import Coalesce

from agents.loop import Limits
from agents.models import ModelCall, Step
from agents.reasoners.rungs import Rung


def left(step: Step, rung: Rung, seconds: float) -> Limits | str:
    """Limits for the step's next conversation, or which one leaves nothing of it.

    `seconds` is what the step has left. Calls of earlier attempts and of higher rungs count, those that were
    not answered by their seconds only. So does a call whose usage the server did not tell, and as a step.
    """
    calls = ModelCall.objects.filter(step__run__incident=step.run.incident_id)
    used = calls.aggregate(**_sums("incident", Q()), **_sums("agent", Q(step=step)))
    caps = [
        (settings.AGENT_USD, used["agent_usd"]),
        (settings.LLM_BUDGET_INCIDENT_USD, used["incident_usd"]),
    ]
    dollars = [cap - float(spent) for cap, spent in caps if cap is not None]
    rest = Limits(
        steps=min(
            settings.AGENT_STEPS - used["agent_steps"], settings.INCIDENT_STEPS - used["incident_steps"]
        ),
        tokens=min(
            settings.AGENT_TOKENS - used["agent_tokens"], settings.INCIDENT_TOKENS - used["incident_tokens"]
        ),
        seconds=min(seconds, settings.INCIDENT_SECONDS - used["incident_seconds"]),
        usd=None if rung.free else min(dollars, default=None),
    )
    for name, value in vars(rest).items():
        if value is not None and value <= 0:
            return f"the limit of {name} of the agent or of its incident is reached"
    return rest


def _sums(prefix: str, which: Q) -> dict[str, Any]:
    tokens = Coalesce("input_tokens", 0) + Coalesce("output_tokens", 0)
    dollars = Coalesce("cost_usd", "reserved_usd")  # as the budgets count: a lost call with what it may cost
    return {
        f"{prefix}_steps": Count("pk", filter=which & Q(error="")),
        f"{prefix}_tokens": Coalesce(Sum(tokens, filter=which), 0),
        f"{prefix}_seconds": Coalesce(Sum("seconds", filter=which), 0.0),
        f"{prefix}_usd": Coalesce(Sum(dollars, filter=which), 0, output_field=ModelCall.cost_usd.field),
    }
