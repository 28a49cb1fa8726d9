"""How incidents go, at a glance: the panels of the first dashboard there was, on what is proved today."""

from __future__ import annotations

from metrics.dashboards.page import Page, Row
from metrics.dashboards.panels import (
    BAD,
    GOOD,
    NOTHING_CLOSED,
    Query,
    pie,
    stat,
    table,
    thresholds,
    trend,
)
from metrics.dashboards.promql import fleet, mean, series, total

RATE = thresholds(BAD, orange=0.8, green=0.9)
INCIDENT = ("incident", "alert_name", "severity", "status", "verdict", "target", "opened")
ADMIN = "${homelab:raw}/admin/incidents/incident/${__value.raw}/change/"

NOW = Row(
    "Now",
    (
        stat(
            "Total incidents",
            fleet("ai_agents_incidents_total"),
            "Incidents in the database, open ones included.",
        ),
        stat(
            "Success rate",
            fleet("ai_agents_success_rate"),
            "Of all closed incidents, false alarms left out: the share that was proved to be over, by what "
            "homelab did or by itself. A person's word and an end without proof do not count as success.",
            unit="percentunit",
            steps=RATE,
            nothing=NOTHING_CLOSED,
            decimals=1,
        ),
        stat(
            "Fixed by the crew",
            fleet("ai_agents_fixed_by_crew_rate"),
            "Of the same incidents: those that homelab acted on, with proof that it helped.",
            unit="percentunit",
            nothing=NOTHING_CLOSED,
            decimals=1,
        ),
        stat(
            "Average resolution time",
            fleet("ai_agents_avg_resolution_seconds"),
            "From the alert's start to the proof, over all incidents that have one.",
            unit="s",
            steps=thresholds(GOOD, orange=300, red=1800),
            nothing=NOTHING_CLOSED,
        ),
        stat(
            "Waiting for you",
            fleet("ai_agents_approvals_waiting"),
            "Questions that nobody has answered yet. They expire.",
            steps=thresholds(GOOD, orange=1),
        ),
        stat(
            "Service status",
            series("up", job="ai-agents"),
            "Whether Prometheus can read each instance.",
            legend="{{instance}}",
            words={"0": ("DOWN", BAD), "1": ("UP", GOOD)},
            nothing="no such job",
        ),
    ),
)
INCIDENTS = Row(
    "Incidents",
    (
        pie(
            "Incidents by severity",
            Query(fleet("ai_agents_incidents_by_severity", "severity"), "{{severity}}"),
            "All of them, by class of severity; what was sent as anything else is other.",
        ),
        table(
            "Recent incidents",
            fleet("ai_agents_incident_info", *INCIDENT),
            "The last 20. The number leads to the incident in homelab's admin (its address is set above).",
            columns=INCIDENT,
            number="incident",
            link=("Open in homelab", ADMIN),
            width=16,
        ),
    ),
)
TRENDS = Row(
    "Trends",
    (
        trend(
            "Resolution time",
            (
                Query(mean("ai_agents_resolution_seconds", also=("severity",)), "mean of a day"),
                Query(fleet("ai_agents_avg_resolution_seconds"), "mean of all"),
            ),
            "From the alert's start to the proof. The mean of a day has a gap where nothing was proved.",
            unit="s",
            steps=thresholds(GOOD, orange=300),
        ),
        trend(
            "Incidents over time",
            (
                Query(fleet("ai_agents_incidents_total"), "all"),
                Query(fleet("ai_agents_incidents_by_status", status="in_progress"), "in progress"),
            ),
            "How many there are.",
        ),
        trend(
            "Success rate",
            (
                Query(fleet("ai_agents_success_rate"), "proved over"),
                Query(fleet("ai_agents_fixed_by_crew_rate"), "fixed by the crew"),
            ),
            "Of all incidents closed until then. A gap: nothing was closed yet.",
            unit="percentunit",
            steps=thresholds(BAD, orange=0.8, green=0.9),
            most=1,
        ),
        trend(
            "Critical and warning",
            (
                Query(
                    fleet("ai_agents_incidents_by_severity", "severity", severity="=~critical|warning"),
                    "{{severity}}",
                ),
            ),
            "How many incidents of either there are.",
        ),
    ),
)
ATTENTION = Row(
    "Wants attention",
    (
        stat(
            "Alerts about homelab",
            'count(ALERTS{component="homelab-ai-agents", alertstate="firing"}) or vector(0)',
            "Rules of metrics/prometheus/alerts.yml that fire now, if Prometheus has them.",
            steps=thresholds(GOOD, red=1),
            width=6,
        ),
        stat(
            "Work given up",
            total(fleet("ai_agents_queue_depth", "kind", state="dead")),
            "Rows that failed too often. In the admin they are retried or given up for good.",
            steps=thresholds(GOOD, red=1),
            width=6,
        ),
        stat(
            "Recurring problems",
            fleet("ai_agents_problems_open"),
            "What comes again and again, and is open.",
            steps=thresholds(GOOD, orange=1),
            width=6,
        ),
        stat(
            "Budget spent today",
            f"{fleet('ai_agents_budget_spent_dollars', period='day')} "
            f"/ {fleet('ai_agents_budget_dollars', period='day')}",
            "Of LLM_BUDGET_DAILY_USD. At 100 % models that cost money are not asked.",
            unit="percentunit",
            steps=thresholds(GOOD, orange=0.8, red=1),
            nothing="no budget",
            width=6,
        ),
    ),
)
PAGE = Page(
    name="overview",
    uid="ai-agents-dashboard",
    title="AI agents: overview",
    description="How incidents go, and what wants attention.",
    rows=(NOW, INCIDENTS, TRENDS, ATTENTION),
)
