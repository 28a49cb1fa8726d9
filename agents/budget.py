"""Money: what a model's calls cost today, and the cap that ends them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone
from genai_prices import Usage, calc_price

from agents.models import ModelCall


def price_usd(
    *,
    model: str,
    endpoint: str,
    input_tokens: int | None,
    cached_tokens: int | None,
    output_tokens: int | None,
) -> Decimal | None:
    """What a call costs, cached tokens being part of the input; None when price or usage is not known."""
    if input_tokens is None or output_tokens is None:
        return None
    usage = Usage(input_tokens=input_tokens, cache_read_tokens=cached_tokens, output_tokens=output_tokens)
    try:
        return calc_price(usage, model_ref=model, provider_api_url=endpoint).total_price
    except LookupError:  # a local server, or a model that the list does not have
        return None


def cap_line(model: str, endpoint: str) -> str:
    """The cap in words for people, and that it cannot count what has no known price."""
    cap = settings.LLM_BUDGET_DAILY_USD
    if cap is None:
        return "no cap"
    priced = price_usd(model=model, endpoint=endpoint, input_tokens=1, cached_tokens=0, output_tokens=1)
    unknown = "" if priced is not None else " (this model's price is not known, so its calls do not count)"
    return f"at most ${cap:.2f} a day{unknown}"


def spent_today() -> float:
    """US dollars of priced calls since midnight in TZ."""
    midnight = datetime.now(ZoneInfo(settings.TIME_ZONE)).replace(hour=0, minute=0, second=0, microsecond=0)
    total = ModelCall.objects.filter(started_at__gte=midnight, started_at__lte=timezone.now()).aggregate(
        sum=Sum("cost_usd")
    )["sum"]
    return float(total or 0)


def spent_out() -> str | None:
    """Why no model may be asked now, or None."""
    cap = settings.LLM_BUDGET_DAILY_USD
    if cap is None or spent_today() < cap:
        return None
    return f"the daily budget of {cap:.2f} USD is spent"
