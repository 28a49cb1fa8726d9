"""The crew: its agents, on which rung they worked, their tools, and the changes they asked for."""

from __future__ import annotations

from metrics.dashboards.page import Page, Row
from metrics.dashboards.panels import GOOD, Query, bars, ranking, stat, thresholds, trend
from metrics.dashboards.promql import fleet, growth, in_range, mean, per_bar, quantile

RUNS, CALLS = "ai_agents_agent_runs_total", "ai_agents_tool_calls_total"
REQUESTS, ACTIONS = "ai_agents_model_requests_total", "ai_agents_actions_total"
AGENT_TIME, TOOL_TIME = "ai_agents_agent_duration_seconds", "ai_agents_tool_duration_seconds"

AGENTS = Row(
    "Agents",
    (
        bars(
            "Turns by agent",
            (Query(per_bar(RUNS, "agent", also=("rung", "outcome")), "{{agent}}"),),
            "An agent's turn in an incident ends with an answer, or fails.",
            width=8,
        ),
        bars(
            "Turns by rung",
            (Query(per_bar(RUNS, "rung", also=("agent", "outcome")), "{{rung}}"),),
            "Who thought: the model, the fallback model or the playbooks; the Communicator fills in a "
            "template. Much on the playbooks although a model is set up: look at its errors and the budget.",
            width=8,
        ),
        bars(
            "Turns that failed",
            (Query(per_bar(RUNS, "agent", also=("rung",), outcome="failed"), "{{agent}}"),),
            "No rung had an answer.",
            width=8,
        ),
        trend(
            "Time of a turn by agent",
            (Query(quantile(0.95, AGENT_TIME, "agent", also=("rung",)), "{{agent}}"),),
            "95 % of a day's turns took at most so long, estimated from buckets.",
            unit="s",
        ),
        trend(
            "Mean time of a turn by rung",
            (Query(mean(AGENT_TIME, "rung", also=("agent",)), "{{rung}}"),),
            "Exact, of a day's turns.",
            unit="s",
        ),
    ),
)
TOOLS = Row(
    "Tools",
    (
        ranking(
            "Calls by tool",
            Query(f"topk(15, {in_range(CALLS, 'tool', also=('outcome',))})", "{{tool}}"),
            "In this range, the 15 most used.",
        ),
        ranking(
            "Share of calls that failed",
            Query(
                f"{in_range(CALLS, 'tool', outcome='error')} "
                f"/ ({in_range(CALLS, 'tool', also=('outcome',))} > 0)",
                "{{tool}}",
            ),
            "In this range. A tool that fails is an integration that is away, refuses its token, or was "
            "asked for what is not there.",
            unit="percentunit",
            decimals=1,
        ),
        ranking(
            "Mean time by tool",
            Query(f"topk(15, {mean(TOOL_TIME, 'tool', window='$__range')} > 0)", "{{tool}}"),
            "In this range, the 15 slowest.",
            unit="s",
            decimals=2,
        ),
    ),
)
MODEL = Row(
    "Model",
    (
        bars(
            "Requests by outcome",
            (Query(per_bar(REQUESTS, "model", "outcome", also=("agent",)), "{{model}} {{outcome}}"),),
            "Requests to a model's server, answered or failed.",
        ),
        trend(
            "Share of requests that failed",
            (
                Query(
                    f"{growth(REQUESTS, 'model', also=('agent',), window='1h', outcome='failed')} "
                    f"/ ({growth(REQUESTS, 'model', also=('agent', 'outcome'), window='1h')} > 0)",
                    "{{model}}",
                ),
            ),
            "Of an hour's requests. AIAgentsModelErrors fires above a quarter.",
            unit="percentunit",
            steps=thresholds(GOOD, red=0.25),
            most=1,
        ),
    ),
)
CHANGES = Row(
    "Changes",
    (
        stat(
            "Waiting for a person",
            fleet("ai_agents_approvals_waiting"),
            "Questions that nobody has answered yet.",
            steps=thresholds(GOOD, orange=1),
            width=6,
        ),
        stat(
            "Oldest question",
            fleet("ai_agents_approval_oldest_seconds"),
            "How long it has waited; 0 when there is none. It expires after APPROVAL_SECONDS.",
            unit="s",
            steps=thresholds(GOOD, orange=300, red=600),
            width=6,
        ),
        stat(
            "Executed",
            in_range(ACTIONS, also=("kind",), outcome="executed"),
            "Changes that were made, in this range.",
            width=6,
        ),
        stat(
            "Questions that expired",
            in_range(ACTIONS, also=("kind",), outcome="expired"),
            "Nobody answered in time, in this range.",
            steps=thresholds(GOOD, orange=1),
            width=6,
        ),
        bars(
            "Changes by outcome",
            (Query(per_bar(ACTIONS, "outcome", also=("kind",)), "{{outcome}}"),),
            "proposed by the Healer; approved, rejected or expired as a question; executed, failed, or "
            "unknown when nobody can tell whether it was done. One change passes several of these.",
        ),
        ranking(
            "Refused, by rule",
            Query(in_range("ai_agents_refusals_total", "reason"), "{{reason}}"),
            "In this range: what authorize() did not allow, and the rule that said no.",
            width=12,
        ),
    ),
)
PAGE = Page(
    name="crew",
    uid="ai-agents-crew",
    title="AI agents: crew and tools",
    description="Agents and their rungs, tools, models, and the changes they asked for.",
    rows=(AGENTS, TOOLS, MODEL, CHANGES),
)
