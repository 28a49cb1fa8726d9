"""Incidents: how many, of what kind, how they ended and how long they took."""

from __future__ import annotations

from metrics.dashboards.page import Page, Row
from metrics.dashboards.panels import GOOD, Query, bars, pie, ranking, stat, thresholds, trend
from metrics.dashboards.promql import fleet, in_range, mean, per_bar, quantile, total

RESOLUTION, RESPONSE = "ai_agents_resolution_seconds", "ai_agents_response_seconds"

IN_RANGE = Row(
    "In this range",
    (
        stat(
            "Opened",
            in_range("ai_agents_incidents_opened_total", also=("severity", "source")),
            "Incidents that began. increase() extrapolates, so it is rounded; the very first of a source is "
            "not seen, for its series begins with it.",
        ),
        stat(
            "Closed",
            in_range("ai_agents_incidents_closed_total", also=("severity", "verdict")),
            "Incidents that got a verdict. One that opens again and closes again counts twice.",
        ),
        stat(
            "Verified",
            in_range("ai_agents_incidents_closed_total", also=("severity",), verdict="verified"),
            "Closed after an action of homelab's, with proof.",
            steps=thresholds(GOOD),
        ),
        stat(
            "Ended unfixed",
            in_range("ai_agents_incidents_escalated_total", also=("severity",)),
            "Escalated to people: acted in vain, relapsed, or nobody can tell.",
            steps=thresholds(GOOD, orange=1),
        ),
        stat(
            "Opened again",
            in_range("ai_agents_incidents_reopened_total", also=("severity",)),
            "The alert came back within the flap window (FLAP_WINDOW_SECONDS).",
            steps=thresholds(GOOD, orange=1),
        ),
        stat(
            "Open now",
            total(fleet("ai_agents_incidents_open", "severity", "status")),
            "Incidents without a verdict.",
        ),
    ),
)
FLOW = Row(
    "Coming and going",
    (
        bars(
            "Opened by severity",
            (
                Query(
                    per_bar("ai_agents_incidents_opened_total", "severity", also=("source",)), "{{severity}}"
                ),
            ),
            "From one bar to the next, exactly.",
        ),
        bars(
            "Closed by verdict",
            (
                Query(
                    per_bar("ai_agents_incidents_closed_total", "verdict", also=("severity",)), "{{verdict}}"
                ),
            ),
            "verified: our action, then proof. cleared_before_action: proof without an action. not_fixed and "
            "relapsed: our action did not help. unknown: no proof either way.",
        ),
        trend(
            "Open by what they wait for",
            (Query(total(fleet("ai_agents_incidents_open", "severity", "status"), "status"), "{{status}}"),),
            "new: no agent has looked yet. awaiting_approval: a person has to answer. proving: the alert's "
            "expression is watched.",
        ),
        trend(
            "Open by severity",
            (
                Query(
                    total(fleet("ai_agents_incidents_open", "severity", "status"), "severity"),
                    "{{severity}}",
                ),
            ),
            "Incidents without a verdict.",
        ),
    ),
)
ENDS = Row(
    "Of all time",
    (
        pie(
            "By resolution status",
            Query(fleet("ai_agents_incidents_by_status", "status"), "{{status}}"),
            "in_progress, resolved, escalated (acted in vain) or attempted (nobody can tell).",
        ),
        ranking(
            "By verdict",
            Query(fleet("ai_agents_incidents_by_verdict", "verdict"), "{{verdict}}"),
            "in_progress has none yet.",
        ),
        ranking(
            "By source",
            Query(fleet("ai_agents_incidents_by_source", "source"), "{{source}}"),
            "Whose token delivered the first alert; homelab's own checks are sources, too.",
        ),
    ),
)
TIMES = Row(
    "How long it took",
    (
        trend(
            "Resolution time",
            tuple(
                Query(quantile(q, RESOLUTION, also=("severity",)), f"{q:.0%}".replace("%", " %"))
                for q in (0.5, 0.95)
            ),
            "From the alert's start to the proof, of a day's proofs: half, and 95 %, were at most so quick. "
            "Between the bounds of a bucket it is an estimate. A gap: nothing was proved.",
            unit="s",
        ),
        trend(
            "Mean resolution time by severity",
            (Query(mean(RESOLUTION, "severity"), "{{severity}}"),),
            "Exact, of a day's proofs. A gap: nothing was proved.",
            unit="s",
            steps=thresholds(GOOD, orange=300),
        ),
        trend(
            "Response time",
            tuple(
                Query(quantile(q, RESPONSE, also=("severity",)), f"{q:.0%}".replace("%", " %"))
                for q in (0.5, 0.95)
            ),
            "From an incident's opening to the crew's first finding, of a day's incidents.",
            unit="s",
        ),
        trend(
            "Mean response time by severity",
            (Query(mean(RESPONSE, "severity"), "{{severity}}"),),
            "Exact, of a day's incidents.",
            unit="s",
        ),
    ),
)
PAGE = Page(
    name="incidents",
    uid="ai-agents-incidents",
    title="AI agents: incidents",
    description="How many, of what kind, how they ended and how long they took.",
    rows=(IN_RANGE, FLOW, ENDS, TIMES),
    since="now-7d",
)
