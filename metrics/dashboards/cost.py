"""Money: what is spent, on what, and what is left of the budgets."""

from __future__ import annotations

from metrics.dashboards.page import Page, Row
from metrics.dashboards.panels import GOOD, Query, bars, gauge, pie, ranking, stat, thresholds, trend
from metrics.dashboards.promql import fleet, growth, in_range, per_bar

COST, TOKENS = "ai_agents_model_cost_dollars_total", "ai_agents_model_tokens_total"
SPENT, BUDGET = "ai_agents_budget_spent_dollars", "ai_agents_budget_dollars"
USED = f"{fleet(SPENT, 'period')} / {fleet(BUDGET, 'period')}"
INPUT = growth(TOKENS, also=("model", "agent"), kind="input")
CACHED = growth(TOKENS, also=("model", "agent"), kind="cached")
OPENED = in_range("ai_agents_incidents_opened_total", also=("severity", "source"))

BUDGETS = Row(
    "Budgets",
    (
        stat(
            "Spent today",
            fleet(SPENT, period="day"),
            "The day ends by TZ. What calls under way may cost counts as spent.",
            unit="currencyUSD",
            decimals=3,
            width=4,
        ),
        stat(
            "Spent this month",
            fleet(SPENT, period="month"),
            "The month ends by TZ.",
            unit="currencyUSD",
            decimals=2,
            width=4,
        ),
        gauge(
            "Of the budget",
            Query(USED, "{{period}}"),
            "At 80 % people are told; at 100 % models that cost money are not asked any more.",
            steps=thresholds(GOOD, orange=0.8, red=1),
            width=8,
        ),
        stat(
            "Spent in this range",
            growth(COST, also=("model", "agent")),
            "What calls with a known price cost.",
            unit="currencyUSD",
            decimals=3,
            width=4,
        ),
        stat(
            "Calls without a price",
            in_range("ai_agents_model_unpriced_calls_total", also=("model",)),
            "In this range. They are in no sum and no budget: give the model a price with LLM_PRICES.",
            steps=thresholds(GOOD, orange=1),
            width=4,
        ),
    ),
)
OVER_TIME = Row(
    "Over time",
    (
        bars(
            "Dollars by model",
            (Query(per_bar(COST, "model", also=("agent",)), "{{model}}"),),
            "From one bar to the next.",
            unit="currencyUSD",
        ),
        trend(
            "Share of the budget",
            (Query(USED, "{{period}}"),),
            "Absent without a budget.",
            unit="percentunit",
            steps=thresholds(GOOD, orange=0.8, red=1),
        ),
        bars(
            "Tokens by kind",
            (Query(per_bar(TOKENS, "kind", also=("model", "agent"), kind="=~input|output"), "{{kind}}"),),
            "What is cached is a part of the input, what is reasoned a part of the output: neither is "
            "stacked on top here.",
        ),
        bars(
            "Requests by model",
            (
                Query(
                    per_bar("ai_agents_model_requests_total", "model", also=("agent", "outcome")), "{{model}}"
                ),
            ),
            "Answered and failed ones.",
        ),
    ),
)
ON_WHAT = Row(
    "On what",
    (
        ranking(
            "By kind of incident",
            Query(f"topk(15, {fleet('ai_agents_incident_cost_dollars', 'alert_name')})", "{{alert_name}}"),
            "Ever spent, by alert name; beyond the 50 dearest they are (other).",
            unit="currencyUSD",
            decimals=3,
            width=12,
        ),
        pie(
            "By agent",
            Query(growth(COST, "agent", also=("model",)), "{{agent}}"),
            "In this range.",
            unit="currencyUSD",
            width=6,
        ),
        pie(
            "By model",
            Query(growth(COST, "model", also=("agent",)), "{{model}}"),
            "In this range.",
            unit="currencyUSD",
            width=6,
        ),
        stat(
            "Dollars per incident",
            f"{growth(COST, also=('model', 'agent'))} / ({OPENED} > 0)",
            "Spent in this range, divided by the incidents that were opened in it.",
            unit="currencyUSD",
            decimals=4,
            nothing="no incident",
            width=8,
        ),
        stat(
            "Input tokens per incident",
            f"{INPUT} / ({OPENED} > 0)",
            "In this range, by the incidents that were opened in it.",
            nothing="no incident",
            decimals=0,
            width=8,
        ),
        stat(
            "Input from the cache",
            f"{CACHED} / ({INPUT} > 0)",
            "The share of input tokens that the server took from its cache, which costs less, in this range.",
            unit="percentunit",
            nothing="no model was asked",
            width=8,
        ),
    ),
)
PAGE = Page(
    name="cost",
    uid="ai-agents-cost",
    title="AI agents: cost",
    description="What is spent, on what, and what is left of the budgets.",
    rows=(BUDGETS, OVER_TIME, ON_WHAT),
    since="now-7d",
)
