"""What the tally counts, as metrics of the whole fleet: exact, and never going backwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from prometheus_client.core import Metric

from agents.models import ActionKind, Step
from incidents.models import SEVERITIES, Verdict
from incidents.tally import BUCKETS, MICRO, NANO, Series
from metrics.families import Labels, counters, gauges, histograms

OTHERS = "(other)"
MOST_ALERTS = 50
AGENTS = (Step.Agent.MONITOR, Step.Agent.ANALYST, Step.Agent.HEALER, Step.Agent.COMMUNICATOR)


@dataclass(frozen=True)
class Counted:
    """A counter: its name in the tally, of the metric without `_total`, and its labels.

    `unit`: so many of the tally's are one of the metric's. `known`: series that are there before their first
    event, for increase() does not see it otherwise.
    """

    series: str
    metric: str
    help: str
    labels: tuple[str, ...]
    unit: int = 1
    known: tuple[Labels, ...] = ()


def _all(*values: Iterable[str]) -> tuple[Labels, ...]:
    return tuple(product(*([str(each) for each in some] for some in values)))


ALERTMANAGER = ("alertmanager",)
COUNTERS = (
    Counted(
        "incidents_opened",
        "ai_agents_incidents_opened",
        "Incidents that opened",
        ("severity", "source"),
        known=_all(SEVERITIES, ALERTMANAGER),
    ),
    Counted(
        "incidents_closed",
        "ai_agents_incidents_closed",
        "Verdicts that were given; one that reopens may get another",
        ("severity", "verdict"),
        known=_all(SEVERITIES, Verdict.values),
    ),
    Counted(
        "incidents_escalated",
        "ai_agents_incidents_escalated",
        "Incidents that ended unfixed",
        ("severity",),
        known=_all(SEVERITIES),
    ),
    Counted(
        "incidents_reopened",
        "ai_agents_incidents_reopened",
        "Closed incidents whose alert came back",
        ("severity",),
        known=_all(SEVERITIES),
    ),
    Counted(
        "deliveries",
        "ai_agents_deliveries",
        "Requests to /alert that were stored; partly: some of their alerts were put aside",
        ("source", "outcome"),
        known=_all(ALERTMANAGER, ("accepted", "partly")),
    ),
    Counted(
        "alerts",
        "ai_agents_alerts",
        "Alerts by what they were: opened, repeated, resolved or quarantined",
        ("source", "outcome"),
        known=_all(ALERTMANAGER, ("opened", "repeated", "resolved", "quarantined")),
    ),
    Counted(
        "agent_runs",
        "ai_agents_agent_runs",
        "Turns of agents that ended",
        ("agent", "rung", "outcome"),
        known=_all(AGENTS[:-1], ("playbooks",), ("answered", "failed"))
        + _all(AGENTS[-1:], ("template",), ("answered", "failed")),
    ),
    Counted("tool_calls", "ai_agents_tool_calls", "Readings by tools", ("tool", "outcome")),
    Counted(
        "model_requests", "ai_agents_model_requests", "Requests to models", ("model", "agent", "outcome")
    ),
    Counted(
        "model_tokens",
        "ai_agents_model_tokens",
        "Tokens by kind; cached ones are input, too, and reasoning ones output",
        ("model", "agent", "kind"),
    ),
    Counted(
        "model_cost",
        "ai_agents_model_cost_dollars",
        "US dollars of calls with a known price",
        ("model", "agent"),
        unit=NANO,
    ),
    Counted("model_unpriced", "ai_agents_model_unpriced_calls", "Calls whose price is not known", ("model",)),
    Counted(
        "actions",
        "ai_agents_actions",
        "Changes by what became of them",
        ("kind", "outcome"),
        known=_all(
            ActionKind.values,
            ("proposed", "approved", "rejected", "expired", "executed", "failed", "unknown"),
        ),
    ),
    Counted("refusals", "ai_agents_refusals", "Changes that authorize() refused, by rule", ("reason",)),
    Counted("notifications", "ai_agents_notifications", "Tries to send a message", ("channel", "outcome")),
    Counted(
        "reconciled",
        "ai_agents_reconciled_alerts",
        "What Alertmanager's list showed and no delivery had brought: alerts found, alerts ended",
        ("outcome",),
        known=_all(("found", "ended")),
    ),
)
HISTOGRAMS = (
    Counted(
        "resolution",
        "ai_agents_resolution_seconds",
        "From an alert's start to the proof",
        ("severity",),
        known=_all(SEVERITIES),
    ),
    Counted(
        "response",
        "ai_agents_response_seconds",
        "From an incident's opening to the crew's first finding",
        ("severity",),
        known=_all(SEVERITIES),
    ),
    Counted(
        "agent_duration",
        "ai_agents_agent_duration_seconds",
        "An agent's turn",
        ("agent", "rung"),
        known=_all(AGENTS[:-1], ("playbooks",)) + _all(AGENTS[-1:], ("template",)),
    ),
    Counted(
        "memory_search",
        "ai_agents_memory_search_seconds",
        "A search of the memory by the crew, with the embedding of its query",
        (),
        known=((),),
    ),
    Counted("tool_duration", "ai_agents_tool_duration_seconds", "A reading by a tool", ("tool",)),
)
COST = "incident_cost"


def families(counted: Mapping[Series, int]) -> Iterator[Metric]:
    """All counters and histograms."""
    by_name: dict[str, dict[Labels, int]] = {}
    for (name, *labels), amount in counted.items():
        by_name.setdefault(name, {})[tuple(labels)] = amount
    for each in COUNTERS:
        found = by_name.get(each.series, {})
        values = dict.fromkeys(each.known, 0.0) | {key: amount / each.unit for key, amount in found.items()}
        yield counters(each.metric, each.help, each.labels, values)
    # No counter: an alert may come to be among the dearest, and then the others are less.
    yield gauges(
        "ai_agents_incident_cost_dollars",
        f"US dollars ever spent by alert name, of the {MOST_ALERTS} dearest; the others as one",
        ("alert_name",),
        _dearest(by_name.get(COST, {})),
    )
    for each in HISTOGRAMS:
        buckets: dict[Labels, dict[str, float]] = {key: {} for key in each.known} | _buckets(
            by_name.get(each.series, {})
        )
        yield histograms(each.metric, each.help, each.labels, BUCKETS[each.series], buckets)


def _dearest(found: Mapping[Labels, int]) -> dict[Labels, float]:
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    values = {key: amount / NANO for key, amount in ordered[:MOST_ALERTS]}
    if rest := ordered[MOST_ALERTS:]:
        values[OTHERS,] = sum(amount for _key, amount in rest) / NANO
    return values


def _buckets(found: Mapping[Labels, int]) -> dict[Labels, dict[str, float]]:
    values: dict[Labels, dict[str, float]] = {}
    for (*labels, part), amount in found.items():
        mine = values.setdefault(tuple(labels), {})
        mine[part] = amount / MICRO if part == "sum" else amount
    return values
