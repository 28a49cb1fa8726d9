"""Prometheus: the alert's own expression, and reading around it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from django.conf import settings
from pydantic import Field

from agents import reading  # the module: see agents.tools.prometheus_alert
from agents.tools.base import Case, Health, Integration, Result, ToolError, register, tool
from agents.tools.prometheus_alert import AlertCheck, Question, check_alert, question_of
from agents.tools.prometheus_client import Alert, Prometheus, Target, shared
from agents.tools.prometheus_text import (
    alert_data,
    alert_line,
    check_data,
    check_text,
    metric,
    rule_data,
    rule_text,
    summary,
    summary_line,
    target_data,
    target_line,
)
from agents.tools.text import capped, finite, number, one_line, utc

MAX_ROWS = 30
MAX_SERIES = 20
MAX_POINTS = 60
WEEK = 7 * 24 * 60  # minutes
# Labels that name the thing an alert is about, and those that name its host (`host` or `host:port`).
THING_LABELS = ("container", "container_name", "name", "target", "pod", "service", "vm")
HOST_LABELS = ("instance", "host", "hostname", "node", "nodename")

Expression = Annotated[str, Field(min_length=1, max_length=4000)]


def client() -> Prometheus:
    """The configured server, as the caller looks at it now. ToolError when there is none."""
    if not settings.PROMETHEUS_URL:
        raise ToolError("PROMETHEUS_URL is not set")
    return shared() or Prometheus(settings.PROMETHEUS_URL)


def _configured() -> bool:
    return bool(settings.PROMETHEUS_URL)


def _check() -> Health:
    if not _configured():
        return Health(None, "not configured")
    try:
        return Health(True, "answers", client().version())
    except ToolError as error:
        return Health(False, str(error))


PROMETHEUS = register(Integration("prometheus", _configured, _check, ("PROMETHEUS_URL",)))


@tool(PROMETHEUS, topics=("alert", "expression", "firing"))
def alert_expression(case: Case) -> Result:
    """This alert's own expression now: is it true, its value, are its series fresh, was it ever true."""
    try:
        check = check_alert(client(), case)
    except ToolError as error:
        unknown = reading.Reading(reading.ExpressionState.UNKNOWN, str(error))
        check = AlertCheck(Question(case.expression or "", {}, None), unknown)
    return Result(check_text(case.alert_name, check), check_data(check))


@tool(PROMETHEUS, topics=("metric", "value"))
def prometheus_query(case: Case, expr: Expression) -> Result:
    """Evaluate a PromQL expression now. One line per row: labels and value."""
    prometheus = client()
    at = prometheus.now()
    rows = prometheus.instant(expr, at)
    lines = [f"{metric(row.labels)}: {number(row.value)}" for row in rows]
    head = [f"time: {utc(at)}", f"rows: {len(rows)}"]
    head += [f"warning: {one_line(each)}" for each in rows.warnings]
    return Result(
        "\n".join([*head, *capped(lines, MAX_ROWS, "a label matcher, sum by (…) or topk(10, …)")]),
        {
            "count": len(rows),
            "at": at,
            "rows": [{"labels": dict(row.labels), "value": finite(row.value)} for row in rows[:MAX_ROWS]],
        },
    )


@tool(PROMETHEUS, topics=("metric", "trend", "rate", "increase", "predict_linear"))
def prometheus_range(
    case: Case, expr: Expression, minutes: Annotated[int, Field(ge=1, le=WEEK)] = 60
) -> Result:
    """A PromQL expression over the last minutes: min, max, first, last and trend of each series."""
    prometheus = client()
    end = prometheus.now()
    step = max(1.0, math.ceil(minutes * 60 / MAX_POINTS))
    series = prometheus.range(expr, start=end - minutes * 60, end=end, step=step)
    summaries = [summary(each, end=end, step=step) for each in series]
    lines = [summary_line(each) for each in summaries]
    head = [
        f"window: {minutes} min to {utc(end)}, a point every {step:g} s",
        f"series: {len(series)}",
    ]
    return Result(
        "\n".join([*head, *capped(lines, MAX_SERIES, "a label matcher, sum by (…) or topk(5, …)")]),
        {"count": len(series), "at": end, "step": step, "series": summaries[:MAX_SERIES]},
    )


@tool(PROMETHEUS, topics=("rule", "alert"))
def prometheus_rule(case: Case, alert_name: str | None = None) -> Result:
    """Alerting rules by name (default: this alert's): expression, for, labels, state, last error."""
    name = alert_name or case.alert_name
    rules = client().rule(name)
    texts = [rule_text(each) for each in rules]
    return Result(
        "\n".join([f"rules of this name: {len(rules)}", *capped(texts, MAX_ROWS, "a query on ALERTS")]),
        {"count": len(rules), "rules": [rule_data(each) for each in rules[:MAX_ROWS]]},
    )


@tool(PROMETHEUS, topics=("up", "target", "scrape", "absent", "instance", "job"))
def prometheus_targets(case: Case, match: str | None = None) -> Result:
    """Scrape targets, unhealthy first: job, instance, health, error, last scrape. `match`: part of a name."""
    everything = client().targets()
    targets = [each for each in everything if match is None or _mentions(each, match)]
    targets.sort(key=lambda each: (each.health == "up", each.job or "", each.instance or ""))
    counts = {state: sum(each.health == state for each in targets) for state in ("up", "down", "unknown")}
    head = [
        f"targets: {len(targets)} of {len(everything)}",
        *(f"{key}: {value}" for key, value in counts.items()),
    ]
    lines = [target_line(each) for each in targets]
    return Result(
        "\n".join([*head, *capped(lines, MAX_ROWS, "match=, a part of a job, instance or label")]),
        {"count": len(targets), **counts, "targets": [target_data(each) for each in targets[:MAX_ROWS]]},
    )


@tool(PROMETHEUS, topics=("alerts", "instance", "host", "down"))
def firing_on_target(case: Case) -> Result:
    """Other alerts that are active in Prometheus now on this alert's host, container or target."""
    found = [
        (alert, shares)
        for alert in client().alerts()
        if not _is_case(case, alert) and (shares := shared_places(case.labels, alert.labels))
    ]
    found.sort(key=lambda pair: (pair[0].state != "firing", pair[0].active_at or ""))
    firing = sum(alert.state == "firing" for alert, _ in found)
    lines = [alert_line(alert, shares) for alert, shares in found]
    head = [f"other active alerts: {len(found)}", f"firing: {firing}"]
    return Result(
        "\n".join([*head, *capped(lines, MAX_ROWS, "a query on ALERTS")]),
        {
            "count": len(found),
            "firing": firing,
            "alerts": [alert_data(alert, shares) for alert, shares in found[:MAX_ROWS]],
        },
    )


def shared_places(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """What both sets of labels are about, as `container=jellyfin` and `host=docker2`; empty when nothing."""
    things = [
        f"{name}={ours[name]}" for name in THING_LABELS if ours.get(name) and ours[name] == theirs.get(name)
    ]
    return things + [f"host={host}" for host in sorted(_hosts(ours) & _hosts(theirs))]


def _hosts(labels: Mapping[str, str]) -> set[str]:
    """Host names without port: exporters of one host differ in the port alone."""
    return {value.rsplit(":", 1)[0] for name in HOST_LABELS if (value := labels.get(name))}


def _is_case(case: Case, alert: Alert) -> bool:
    """Relabelling on the way to Alertmanager may have added labels, so theirs need only be among ours."""
    return all(case.labels.get(name) == value for name, value in alert.labels.items())


def _mentions(target: Target, match: str) -> bool:
    texts = (*target.labels.values(), target.scrape_url)
    return any(match.lower() in text.lower() for text in texts)


__all__ = [
    "PROMETHEUS",
    "Prometheus",
    "Question",
    "alert_expression",
    "client",
    "firing_on_target",
    "prometheus_query",
    "prometheus_range",
    "prometheus_rule",
    "prometheus_targets",
    "question_of",
    "shared_places",
]
