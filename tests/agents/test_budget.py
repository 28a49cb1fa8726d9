"""What calls cost, and that an unknown price is unknown."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agents import budget

OPENAI = "https://api.openai.com/v1"


def price(**changes: object) -> Decimal | None:
    call = {"model": "gpt-4o-mini", "endpoint": OPENAI, "input_tokens": 1000, "cached_tokens": 0}
    return budget.price_usd(**{**call, "output_tokens": 100, **changes})  # type: ignore[arg-type]


def test_a_known_model_has_a_price_and_cached_tokens_are_cheaper() -> None:
    whole, cached = price(), price(cached_tokens=1000)
    assert whole is not None
    assert cached is not None
    assert 0 < cached < whole < Decimal("0.01")


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "http://127.0.0.1:11434/v1"},
        {"model": "mine"},
        {"input_tokens": None},
        {"output_tokens": None},
    ],
)
def test_an_unknown_price_is_none_and_never_zero(changes: dict[str, object]) -> None:
    assert price(**changes) is None


def test_the_banner_says_when_the_cap_cannot_count(settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 1.0
    assert budget.cap_line("gpt-4o-mini", OPENAI) == "at most $1.00 a day"
    assert "price is not known" in budget.cap_line("mine", "http://127.0.0.1:11434/v1")
    settings.LLM_BUDGET_DAILY_USD = None
    assert budget.cap_line("mine", OPENAI) == "no cap"
