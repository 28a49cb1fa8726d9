"""What a call of a model costs: by the owner's own prices, else by a maintained list. Unknown is None."""

from __future__ import annotations

import json
from decimal import ROUND_UP, Decimal
from typing import Any

from django.conf import settings
from genai_prices import Usage, calc_price

MILLION = 1_000_000
MICRO_DOLLAR = Decimal("0.000001")
# A call's worst price. Only random characters take more tokens than one for two bytes; an answer ends there,
# thinking included, unless its server takes no such bound.
WORST_BYTES_A_TOKEN = 2
MOST_ANSWER_TOKENS = 8_000


def price_usd(
    *,
    model: str,
    endpoint: str,
    input_tokens: int | None,
    cached_tokens: int | None,
    output_tokens: int | None,
    asked: str = "",
) -> Decimal | None:
    """What a call costs, cached tokens being part of the input; None when price or usage is not known.

    `asked`: the name that the model was asked by, when its server answers with another.
    """
    if input_tokens is None or output_tokens is None or (cached_tokens or 0) > input_tokens:
        return None
    names = [model, asked]
    own = next((settings.LLM_PRICES[name] for name in names if name in settings.LLM_PRICES), None)
    if own is not None:
        cached = cached_tokens or 0
        counts = (input_tokens - cached, output_tokens, cached)
        return sum((count * price for count, price in zip(counts, own, strict=True)), Decimal(0)) / MILLION
    usage = Usage(input_tokens=input_tokens, cache_read_tokens=cached_tokens, output_tokens=output_tokens)
    for name in names:
        try:
            return calc_price(usage, model_ref=name, provider_api_url=endpoint).total_price
        except LookupError:  # a local server, or a model that the list does not have
            continue
    return None


def worst_usd(*, model: str, endpoint: str, request: dict[str, Any]) -> Decimal | None:
    """The most that a call will cost, before it is made; None when the price is not known."""
    worst = price_usd(
        model=model,
        endpoint=endpoint,
        input_tokens=len(json.dumps(request)) // WORST_BYTES_A_TOKEN,
        cached_tokens=0,
        output_tokens=MOST_ANSWER_TOKENS,
    )
    return None if worst is None else worst.quantize(MICRO_DOLLAR, ROUND_UP)
