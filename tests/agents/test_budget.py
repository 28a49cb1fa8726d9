"""What calls cost, that an unknown price is unknown, and that budgets end them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from agents import budget, cases, prices, reasoners
from agents.answers import Triage
from agents.loop import Brief
from agents.models import ModelCall, Step
from agents.reasoners import openai, rungs
from incidents import notifications
from incidents.models import Notification
from incidents.queue import LeaseLost
from tests.agents.conftest import a_step
from tests.e2e import openai_server as oai

OPENAI = "https://api.openai.com/v1"
DOLLAR_A_TOKEN = Decimal(1_000_000)
TRIAGE = {"state": "unknown", "affected": [], "summary": "nobody can say"}


def price(**changes: object) -> Decimal | None:
    call = {"model": "gpt-4o-mini", "endpoint": OPENAI, "input_tokens": 1000, "cached_tokens": 0}
    return prices.price_usd(**{**call, "output_tokens": 100, **changes})  # type: ignore[arg-type]


# --- prices --------------------------------------------------------------------------------------


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
        {"cached_tokens": 1001},  # more than all of it: the server contradicts itself
    ],
)
def test_an_unknown_price_is_none_and_never_zero(changes: dict[str, object]) -> None:
    assert price(**changes) is None


def test_own_prices_go_first(settings) -> None:
    settings.LLM_PRICES = {"gpt-4o-mini": (Decimal(2), Decimal(10), Decimal("0.5"))}
    assert price() == Decimal("0.003")
    assert price(cached_tokens=1000) == Decimal("0.0015")
    assert price(endpoint="http://127.0.0.1:4000/v1") == Decimal("0.003")


def test_a_model_is_priced_by_the_name_it_was_asked_by_when_its_server_gives_another(settings) -> None:
    assert price(model="prod-7", asked="gpt-4o-mini") == price()
    settings.LLM_PRICES = {"gpt-4o-mini": (Decimal(2), Decimal(10), Decimal(2))}
    assert price(model="gpt-4o-mini-2024-07-18", asked="gpt-4o-mini") == Decimal("0.003")


def test_the_banner_says_what_the_caps_are_and_when_they_cannot_count(settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 1.0
    assert budget.cap_line("gpt-4o-mini", OPENAI) == "at most $1.00 a day"
    assert "price is not known" in budget.cap_line("mine", "http://127.0.0.1:11434/v1")
    settings.LLM_BUDGET_MONTHLY_USD, settings.LLM_BUDGET_INCIDENT_USD = 20.0, 0.005
    assert budget.cap_line("gpt-4o-mini", OPENAI) == "at most $1.00 a day, $20.00 a month, $0.005 an incident"
    settings.LLM_BUDGET_DAILY_USD = settings.LLM_BUDGET_MONTHLY_USD = settings.LLM_BUDGET_INCIDENT_USD = None
    assert budget.cap_line("mine", OPENAI) == "no cap"


def test_a_fallback_with_a_price_of_its_own_is_not_free(settings) -> None:
    settings.OPENAI_FALLBACK_MODEL, settings.OPENAI_FALLBACK_BASE_URL = "proxied", "http://litellm:4000/v1"
    assert rungs.configured()[0].free
    settings.LLM_PRICES = {"proxied": (Decimal(1), Decimal(1), Decimal(1))}
    assert not rungs.configured()[0].free


# --- budgets -------------------------------------------------------------------------------------


def a_call(step: Step, **fields: Any) -> ModelCall:
    return ModelCall(**{"step": step, "model": "m", "endpoint": "e", "request": {}, "seconds": 1.0, **fields})


def spend(step: Step, dollars: str, **fields: Any) -> None:
    a_call(step, cost_usd=dollars, **fields).save()


def coming(step: Step, dollars: str | None) -> ModelCall:
    """A call that is about to be made, and may cost so much."""
    return a_call(step, reserved_usd=None if dollars is None else Decimal(dollars), seconds=None)


def test_a_day_begins_at_midnight_of_tz(step: Step, settings) -> None:
    settings.TIME_ZONE, settings.LLM_BUDGET_DAILY_USD = "Pacific/Kiritimati", 1.0
    midnight = budget.midnight()
    assert midnight.utcoffset() == timedelta(hours=14)
    spend(step, "0.60", started_at=midnight - timedelta(seconds=1))
    spend(step, "0.40", started_at=midnight)
    assert budget.spent_out() is None
    spend(step, "0.60")
    assert budget.spent_out() == "the daily budget is spent: $1.00 of $1.00"


def test_a_month_has_a_budget(step: Step, settings) -> None:
    settings.LLM_BUDGET_DAILY_USD, settings.LLM_BUDGET_MONTHLY_USD = None, 5.0
    first = budget.midnight().replace(day=1)
    spend(step, "4.00", started_at=first - timedelta(seconds=1))
    spend(step, "4.00", started_at=first)
    assert budget.spent_out() is None
    spend(step, "1.00")
    assert budget.spent_out() == "the monthly budget is spent: $5.00 of $5.00"


def test_an_incident_has_a_budget_and_the_next_one_its_own(step: Step, settings) -> None:
    settings.LLM_BUDGET_INCIDENT_USD = 0.05
    spend(step, "0.0512")
    with pytest.raises(budget.NoMoney, match=r"the incident's budget is spent: \$0\.0512 of \$0\.05"):
        budget.reserve(coming(step, "0.01"), step.run.incident)
    other = a_step("other", "critical")
    budget.reserve(coming(other, "0.01"), other.run.incident)
    assert budget.spent_out() is None


def test_what_calls_under_way_may_cost_is_held(step: Step, settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.10
    incident = step.run.incident
    first, second, third = coming(step, "0.06"), coming(step, "0.05"), coming(step, "0.04")
    budget.reserve(first, incident)
    with pytest.raises(budget.NotYet, match="the rest of the daily budget is held"):
        budget.reserve(second, incident)
    budget.reserve(third, incident)
    ModelCall.objects.filter(pk=first.pk).update(cost_usd="0.01", reserved_usd=None, seconds=1.0)
    budget.reserve(second, incident)


def test_who_lost_its_step_makes_no_call(step: Step, settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.10
    Step.objects.update(fence=step.fence + 1)  # another worker has it
    with pytest.raises(LeaseLost):
        budget.reserve(coming(step, "0.06"), step.run.incident)
    assert not ModelCall.objects.exists()


def test_a_call_that_is_alone_may_go_beyond_the_cap_and_then_none(step: Step, settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.10
    spend(step, "0.09")
    alone = coming(step, "0.06")
    budget.reserve(alone, step.run.incident)
    with pytest.raises(budget.NotYet):
        budget.reserve(coming(step, "0.01"), step.run.incident)
    ModelCall.objects.filter(pk=alone.pk).update(cost_usd="0.06", reserved_usd=None, seconds=1.0)
    with pytest.raises(budget.NoMoney, match=r"the daily budget is spent: \$0\.15 of \$0\.10"):
        budget.reserve(coming(step, "0.01"), step.run.incident)


def test_a_call_that_a_dead_worker_may_have_made_counts_and_holds_nobody_up(step: Step, settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.10
    lost = timezone.now() - timedelta(seconds=settings.LEASE_LIMIT_SECONDS + 1)
    a_call(step, reserved_usd="0.06", seconds=None, started_at=lost).save()
    [daily] = budget.budgets()
    assert daily.used() == budget.Used(spent=Decimal("0.06"), held=Decimal(0))
    budget.reserve(coming(step, "0.06"), step.run.incident)  # it is the only one under way


def test_an_unknown_price_cannot_be_counted(step: Step, settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.10
    for _ in range(3):
        budget.reserve(coming(step, None), step.run.incident)
    assert budget.budgets()[0].used() == budget.Used(Decimal(0), Decimal(0))


# --- what a call leaves --------------------------------------------------------------------------


def think(step: Step) -> None:
    brief = Brief("monitor", cases.build(step.run.incident), Triage, (), {"reading": None})
    reasoners.think(step, brief)


def answers(request: dict[str, Any]) -> Any:
    return oai.call_tools(oai.tool_call("submit_triage", TRIAGE))


@pytest.fixture
def priced(settings) -> None:
    settings.OPENAI_MODEL = "dear"
    settings.LLM_PRICES = {"dear": (Decimal(1), Decimal(2), Decimal(1))}


@pytest.mark.usefixtures("priced")
def test_the_real_cost_takes_the_place_of_the_reservation(model, step: Step) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    model(lambda request: oai.Response(message=answers(request), usage=usage))
    think(step)
    call = ModelCall.objects.get()
    assert (call.cost_usd, call.reserved_usd) == (Decimal("0.0012"), None)


@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize(
    "script",
    [
        lambda request: oai.Response(hang=True),
        lambda request: oai.malformed(),
        lambda request: oai.Response(message=answers(request), usage=None),
    ],
    ids=["timed out", "half an answer", "no usage"],
)
def test_a_call_that_may_have_cost_keeps_its_reservation(model, step: Step, settings, script: Any) -> None:
    model(script)
    settings.OPENAI_TIMEOUT_SECONDS = 1
    think(step)
    call = ModelCall.objects.first()
    assert call.cost_usd is None
    assert call.reserved_usd > Decimal("0.01")
    assert budget.budgets()[0].used().spent >= call.reserved_usd


@pytest.mark.usefixtures("priced")
def test_a_call_that_was_refused_cost_nothing(model, step: Step, settings) -> None:
    model(lambda request: oai.rate_limited(300))
    think(step)
    settings.OPENAI_BASE_URL = "http://127.0.0.1:1/v1"  # nobody is there
    think(a_step("other", "critical"))
    costs = ModelCall.objects.values_list("cost_usd", "reserved_usd")
    assert list(costs) == [(Decimal(0), None)] * 3  # the cut connection is tried once more


def test_a_free_fallback_costs_nothing_and_needs_no_budget(model, fallback, step: Step, settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.0
    model(answers)
    fallback(answers)
    think(step)
    assert step.rung == "fallback"
    assert ModelCall.objects.get().cost_usd == 0


@pytest.mark.usefixtures("priced")
def test_a_call_waits_a_while_for_what_others_hold(model, step: Step, settings, monkeypatch) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.02
    other = a_step("other", "critical")
    budget.reserve(coming(other, "0.02"), other.run.incident)

    def the_other_call_ends(seconds: float) -> None:
        ModelCall.objects.filter(step=other).update(cost_usd="0.001", reserved_usd=None, seconds=1.0)

    model(answers)
    monkeypatch.setattr(openai, "HELD_SECONDS", -1.0)
    think(step)
    assert step.rung_reason == (
        "model: the rest of the daily budget is held for other calls: $0.00 of $0.02 spent"
    )
    monkeypatch.setattr(openai, "HELD_SECONDS", 10.0)
    monkeypatch.setattr("agents.reasoners.openai.time.sleep", the_other_call_ends)
    think(step)
    assert step.rung == "model"


# --- telling -------------------------------------------------------------------------------------


@pytest.fixture
def channel(settings) -> None:
    settings.NOTIFY_URLS = ["json://127.0.0.1:1/"]


@pytest.mark.usefixtures("channel")
def test_people_are_told_at_80_percent_and_when_it_is_spent_once_each(step: Step, settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 1.0
    incident = step.run.incident
    Notification.objects.all().delete()
    for dollars in ("0.79", "0.01", "0.05", "0.15", "0.50"):
        spend(step, dollars)
        budget.warn(incident)
        budget.warn(None)  # another worker, of a replay
    day = f"{budget.midnight():%Y-%m-%d}"
    told = Notification.objects.order_by("pk")
    assert [(each.title, each.incident, each.channel) for each in told] == [
        (f"Model budget for {day} is at 80 %: $0.80 of $1.00", None, "json-1"),
        (f"Model budget for {day} is spent: $1.00 of $1.00", None, "json-1"),
    ]
    settings.LLM_BUDGET_DAILY_USD = 1.6
    budget.warn(incident)
    assert Notification.objects.count() == 3  # a raised cap is another one


@pytest.mark.usefixtures("channel")
def test_an_incidents_budget_is_told_with_the_incident(step: Step, settings) -> None:
    settings.LLM_BUDGET_INCIDENT_USD = 0.05
    Notification.objects.all().delete()
    spend(step, "0.04")
    budget.warn(step.run.incident)
    [told] = Notification.objects.all()
    assert told.incident == step.run.incident
    assert told.title == f"Model budget for incident {step.run.incident_id} is at 80 %: $0.04 of $0.05"


@pytest.mark.usefixtures("channel")
def test_a_message_of_no_incident_is_delivered(step: Step, settings, monkeypatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(notifications, "_send", lambda url, title, body, **_: sent.append(title))
    settings.LLM_BUDGET_DAILY_USD = 1.0
    spend(step, "1.00")
    budget.warn(None)
    told = Notification.objects.get(incident=None)
    notifications.deliver(told.pk)
    told.refresh_from_db()
    assert sent == [told.title]
    assert told.sent_at is not None


@pytest.mark.usefixtures("channel")
def test_no_budget_at_all_is_no_news(step: Step, settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.0
    budget.warn(None)
    assert not Notification.objects.filter(incident=None).exists()
