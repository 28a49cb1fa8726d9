"""Calls of models as rows, written before the server is asked, and again when it has answered.

So a call that a dying worker made is known, and counts with the most that it may have cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction

from agents import budget, counts
from agents.models import ModelCall, Step
from agents.prices import price_usd, worst_usd
from agents.reasoners import prompts, wire
from agents.reasoners.rungs import Rung
from incidents import rawsql, tally
from incidents.redaction import clean, clean_tree

LONGEST_NAME = 120


@dataclass(frozen=True)
class Call:
    """One request to a model as it went: sent, answered, and what it took. Unknown cost is None.

    `refused`: the server cannot have worked on it, so it cost nothing.
    """

    server: Rung
    request: dict[str, Any]
    response: dict[str, Any] | None
    error: str
    seconds: float
    refused: bool = False

    @property
    def model(self) -> str:
        """As the server names it, which may be more exact than what was asked for."""
        told = (self.response or {}).get("model")
        name = told if isinstance(told, str) and told else self.server.model
        return clean(name[:LONGEST_NAME])[:LONGEST_NAME]

    @property
    def usage(self) -> wire.Usage:
        return wire.usage(self.response)

    @property
    def cost_usd(self) -> Decimal | None:
        if self.server.free or self.refused:
            return Decimal(0)
        usage = self.usage
        return price_usd(
            model=self.model,
            asked=self.server.model,
            endpoint=self.server.endpoint,
            input_tokens=usage.input,
            cached_tokens=usage.cached,
            output_tokens=usage.output,
        )


Done = Callable[[Call], None]
# Asked before each call, and given what came of it; NoMoney when the call must not be made.
Begin = Callable[[Rung, dict[str, Any]], Done]


def book(words: prompts.Prompts, *, step: Step | None = None, replay_of: Step | None = None) -> Begin:
    """Keeps each call as a row, of a step or of a replay of one, within the budgets."""
    incident = step.run.incident if step else None
    worked = step or replay_of

    def begin(server: Rung, request: dict[str, Any]) -> Done:
        row = ModelCall(
            step=step,
            replay_of=replay_of,
            attempt=worked.fence if worked else 1,
            prompts=words.version,
            model=server.model[:LONGEST_NAME],
            endpoint=server.endpoint[:200],
            request=request,
        )
        if not server.free:
            row.reserved_usd = worst_usd(model=server.model, endpoint=server.endpoint, request=request)
        nearly_spent = budget.reserve(row, incident, free=server.free)

        def done(call: Call) -> None:
            _settle(row, call, worked)
            if nearly_spent:
                budget.warn(incident)

        return done

    return begin


def _settle(row: ModelCall, call: Call, worked: Step | None) -> None:
    """The real cost takes the reservation's place; while it is not known, the reservation stays."""
    usage, cost = call.usage, call.cost_usd
    came_of_it = {
        "model": call.model,
        "response": clean_tree(call.response),
        "input_tokens": usage.input,
        "cached_tokens": usage.cached,
        "output_tokens": usage.output,
        "reasoning_tokens": usage.reasoning,
        "cost_usd": cost,
        "reserved_usd": row.reserved_usd if cost is None else None,
        "error": call.error,
        "seconds": call.seconds,
    }
    with transaction.atomic():
        rawsql.change(ModelCall, came_of_it, "id = {}", row.pk)
        for name, value in came_of_it.items():
            setattr(row, name, value)
        tally.add(counts.model_call(row, worked, cost, asked=call.server.model))
