"""Money: what a model's calls cost today, and the cap that ends them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from agents.models import ModelCall


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
