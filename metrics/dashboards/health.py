"""Health: whether homelab itself is all there, keeps up, hears and is heard."""

from __future__ import annotations

from metrics.dashboards.page import Page, Row
from metrics.dashboards.panels import BAD, GOOD, Query, bars, stat, table, thresholds, trend
from metrics.dashboards.promql import fleet, per_bar, quantile, series, total

SEARCH = "ai_agents_memory_search_seconds"
LATENCY = "django_http_requests_latency_seconds_by_view_method_bucket"
RESPONSES = "django_http_responses_total_by_status_total"
ANSWERS = "ai_agents_webhook_answers_total"


def _rate(metric: str, *by: str, **matchers: str) -> str:
    """Per second, of what every process counts for itself."""
    return total(f"rate({series(metric, **matchers)}[$__rate_interval])", *by)


THERE = Row(
    "All there",
    (
        stat(
            "Service status",
            series("up", job="ai-agents"),
            "Whether Prometheus can read each instance.",
            legend="{{instance}}",
            words={"0": ("DOWN", BAD), "1": ("UP", GOOD)},
            nothing="no such job",
            width=5,
        ),
        stat(
            "Last sign of life",
            f"time() - {fleet('ai_agents_heartbeat_timestamp_seconds', 'part')}",
            "Since worker, beat and reconciliation with Alertmanager were last at work. A part that is not "
            "set up is not here.",
            legend="{{part}}",
            unit="s",
            steps=thresholds(GOOD, orange=120, red=900),
            decimals=0,
            width=9,
        ),
        stat(
            "Memory",
            f"min({series('ai_agents_memory_connected')})",
            "Whether the memory's index answers. After a start it takes a while without QDRANT_URL.",
            words={"0": ("away", BAD), "1": ("connected", GOOD)},
            width=4,
        ),
        table(
            "Version",
            f"count by (instance, version) ({series('ai_agents_build_info')})",
            "What runs where.",
            columns=("instance", "version"),
            width=6,
            height=4,
        ),
    ),
)
WORK = Row(
    "Work",
    (
        trend(
            "Oldest row that is due",
            (Query(fleet("ai_agents_queue_oldest_seconds", "kind"), "{{kind}}"),),
            "How long work has been due that nobody took. AIAgentsWorkStuck fires above 300 s.",
            unit="s",
            steps=thresholds(GOOD, red=300),
            width=8,
        ),
        trend(
            "Rows that wait",
            (Query(fleet("ai_agents_queue_depth", "kind", state="waiting"), "{{kind}}"),),
            "Due, and not begun.",
            width=8,
        ),
        trend(
            "Rows given up",
            (Query(fleet("ai_agents_queue_depth", "kind", state="dead"), "{{kind}}"),),
            "They failed too often; in the admin they are retried or given up for good.",
            width=8,
        ),
    ),
)
HEARS = Row(
    "Hears",
    (
        trend(
            "Answers to the webhook",
            (Query(_rate(ANSWERS, "code"), "{{code}}"),),
            "A second. Alertmanager repeats what got a 5xx, and drops what got a 4xx.",
            unit="reqps",
            width=8,
        ),
        bars(
            "Alerts by what they did",
            (Query(per_bar("ai_agents_alerts_total", "outcome", also=("source",)), "{{outcome}}"),),
            "quarantined: an alert that cannot be read, put aside with its reason while the others of its "
            "delivery are taken.",
            width=8,
        ),
        bars(
            "Found by reconciliation",
            (Query(per_bar("ai_agents_reconciled_alerts_total", "outcome"), "{{outcome}}"),),
            "found: Alertmanager listed an alert that no delivery had brought. ended: one whose resolve was "
            "lost.",
            width=8,
        ),
    ),
)
HEARD = Row(
    "Is heard, and remembers",
    (
        bars(
            "Messages",
            (
                Query(
                    per_bar("ai_agents_notifications_total", "channel", "outcome"), "{{channel}} {{outcome}}"
                ),
            ),
            "Sent, and tries that failed.",
            width=8,
        ),
        trend(
            "Not sent, not remembered",
            (
                Query(fleet("ai_agents_notifications_unsent"), "messages not sent"),
                Query(fleet("ai_agents_memory_unsynced"), "memory entries not in the index"),
            ),
            "Both are tried again until they succeed.",
            width=8,
        ),
        trend(
            "Time of a search in the memory",
            (Query(quantile(0.5, SEARCH), "50 %"), Query(quantile(0.95, SEARCH), "95 %")),
            "Of a day's searches, estimated from buckets. A gap: nobody searched.",
            unit="s",
            width=8,
        ),
        trend(
            "Memory entries",
            (Query(fleet("ai_agents_memory_entries", "kind"), "{{kind}}"),),
            "Incidents, what was imported, and sections of runbooks.",
            width=8,
        ),
        trend(
            "Time of a page or API call",
            (Query(f"histogram_quantile(0.95, {_rate(LATENCY, 'le')})", "95 %"),),
            "Pages, API and scrapes; /alert passes no middleware and is not in it.",
            unit="s",
            width=8,
        ),
        trend(
            "Answers by status",
            (Query(_rate(RESPONSES, "status"), "{{status}}"),),
            "Pages, API and scrapes, a second.",
            unit="reqps",
            width=8,
        ),
    ),
)
PAGE = Page(
    name="health",
    uid="ai-agents-health",
    title="AI agents: health",
    description="Whether homelab itself is all there, keeps up, hears and is heard.",
    rows=(THERE, WORK, HEARS, HEARD),
    since="now-6h",
)
