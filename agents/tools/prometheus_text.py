"""What Prometheus answers as lines for agents and as JSON for playbooks. Pure."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

from agents.promql import quote
from agents.tools.prometheus_alert import AlertCheck
from agents.tools.prometheus_client import Alert, Labels, Rule, Series, Target
from agents.tools.text import finite, number, one_line, utc

_TRUTH = {"firing": "true", "cleared": "false", "unknown": "unknown"}
_HISTORY = {True: "yes", False: "no", None: "unknown"}
STEADY = 0.1  # a change below this share of the largest value is no trend


def metric(labels: Labels) -> str:
    """`name{label="value",…}`, labels in order."""
    pairs = ",".join(f"{name}={quote(value)}" for name, value in sorted(labels.items()) if name != "__name__")
    return one_line(f"{labels.get('__name__', '')}{{{pairs}}}")


def check_text(alert_name: str, check: AlertCheck) -> str:
    now, rule = check.reading, check.question.rule
    lines = [
        f"alert: {one_line(alert_name)}",
        f"firing: {_TRUTH[now.state]}",
        f"reason: {one_line(now.reason)}",
        f"value: {'none' if now.value is None else number(now.value)}",
        f"expression: {one_line(check.question.expression) or 'unknown'}",
        f"time: {'unknown' if now.at is None else utc(now.at)}",
        f"rows: {now.rows}",
    ]
    for selector, newest in now.newest.items():
        if newest is None or now.at is None:
            lines.append(f"no sample of this alert: {one_line(selector)}")
        else:
            lines.append(f"newest sample {max(0.0, now.at - newest):.1f} s old: {one_line(selector)}")
    lines.append(f"was true since the alert's start: {_HISTORY[check.was_firing]}")
    if check.last_true is not None:
        lines.append(f"last true: {utc(check.last_true)}")
    if rule is not None:
        lines.append(f"rule: state {rule.state}, health {rule.health}, for {number(rule.duration)} s")
        if rule.last_error:
            lines.append(f"rule error: {one_line(rule.last_error)}")
    return "\n".join(lines)


def check_data(check: AlertCheck) -> dict[str, Any]:
    now, rule = check.reading, check.question.rule
    return {
        "state": now.state.value,
        "reason": now.reason,
        "value": finite(now.value),
        "at": now.at,
        "expression": check.question.expression or None,
        "rows": now.rows,
        "was_firing": check.was_firing,
        "last_true": check.last_true,
        "newest": dict(now.newest),
        "fresh": list(now.fresh),
        "stale": list(now.stale),
        "rule_state": rule.state if rule else None,
        "rule_health": rule.health if rule else None,
        "for_seconds": rule.duration if rule else None,
    }


def summary(series: Series, *, end: float, step: float) -> dict[str, Any]:
    """Of the series' finite points; `ended` when it has no point for the end of the window."""
    values = [value for _, value in series.points if math.isfinite(value)]
    last_at = series.points[-1][0] if series.points else None
    return {
        "labels": dict(series.labels),
        "points": len(series.points),
        "not_finite": len(series.points) - len(values),
        "min": min(values, default=None),
        "max": max(values, default=None),
        "first": values[0] if values else None,
        "last": values[-1] if values else None,
        "trend": trend(values),
        "last_at": last_at,
        "ended": last_at is None or last_at < end - 1.5 * step,
    }


def trend(values: list[float]) -> str | None:
    """ "rising", "falling" or "steady": the last third against the first. None below three points."""
    if len(values) < 3:
        return None
    third = len(values) // 3
    change = fmean(values[-third:]) - fmean(values[:third])
    if abs(change) <= STEADY * max(map(abs, values)):
        return "steady"
    return "rising" if change > 0 else "falling"


def summary_line(data: dict[str, Any]) -> str:
    shown = {
        key: "none" if data[key] is None else number(data[key]) for key in ("min", "max", "first", "last")
    }
    text = f"{metric(data['labels'])}: " + " ".join(f"{key}={value}" for key, value in shown.items())
    text += f" trend={data['trend'] or 'unknown'} points={data['points']}"
    if data["not_finite"]:
        text += f" not_finite={data['not_finite']}"
    return f"{text} ended={utc(data['last_at'])}" if data["ended"] and data["last_at"] else text


def rule_text(rule: Rule) -> str:
    lines = [
        f"rule: {one_line(rule.name)}",
        f"group: {one_line(rule.group)}",
        f"expression: {one_line(rule.query)}",
        f"for: {number(rule.duration)} s",
        f"interval: {'unknown' if rule.interval is None else number(rule.interval) + ' s'}",
        f"state: {rule.state or 'unknown'}",
        f"health: {rule.health or 'unknown'}",
    ]
    if rule.last_error:
        lines.append(f"last error: {one_line(rule.last_error)}")
    lines += [f"label {one_line(name)}: {one_line(value)}" for name, value in rule.labels.items()]
    lines += [f"annotation {one_line(name)}: {one_line(value)}" for name, value in rule.annotations.items()]
    return "\n".join(lines)


def rule_data(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "group": rule.group,
        "expression": rule.query,
        "for_seconds": rule.duration,
        "interval": rule.interval,
        "labels": dict(rule.labels),
        "annotations": dict(rule.annotations),
        "state": rule.state,
        "health": rule.health,
        "last_error": rule.last_error,
    }


def target_line(target: Target) -> str:
    text = f"job={target.job} instance={target.instance} health={target.health}"
    text += f" last_scrape={target.last_scrape or 'never'} url={target.scrape_url}"
    return one_line(f"{text} error={target.last_error}" if target.last_error else text)


def target_data(target: Target) -> dict[str, Any]:
    return {
        "job": target.job,
        "instance": target.instance,
        "health": target.health,
        "last_error": target.last_error,
        "last_scrape": target.last_scrape,
        "url": target.scrape_url,
        "labels": dict(target.labels),
    }


def alert_line(alert: Alert, shares: list[str]) -> str:
    name = alert.labels.get("alertname", "unnamed")
    since = alert.active_at or "unknown"
    return one_line(f"{name}: {alert.state} since {since}, shares {', '.join(shares)} {metric(alert.labels)}")


def alert_data(alert: Alert, shares: list[str]) -> dict[str, Any]:
    return {
        "alert_name": alert.labels.get("alertname"),
        "state": alert.state,
        "since": alert.active_at,
        "value": finite(alert.value),
        "shares": shares,
        "labels": dict(alert.labels),
    }
