"""An alert's expression, its rule, and whether it is and was true: what `alert_expression` tells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

# The module, not its names: whoever imports `agents.reading` first arrives here while it is half loaded,
# because it imports `agents.tools.base`, and with that this package.
from agents import reading
from agents.promql import PromQLError, selectors
from agents.tools.base import Case, ToolError
from agents.tools.prometheus_client import Labels, Prometheus, Rule, Series

LEAD = 60.0  # seconds before the alert's start at which its history begins
HISTORY_POINTS = 300


@dataclass(frozen=True)
class Question:
    """What to evaluate for an alert, and which of its labels the rule itself sets."""

    expression: str
    rule_labels: Mapping[str, str]
    rule: Rule | None


@dataclass(frozen=True)
class AlertCheck:
    """`was_firing`: true at any time since a little before the alert's start; None when history cannot tell.

    `last_true` is when, the last time; to the resolution of the history.
    """

    question: Question
    reading: reading.Reading
    was_firing: bool | None = None
    last_true: float | None = None


def question_of(
    client: Prometheus,
    *,
    alert_name: str,
    labels: Labels,
    expression: str | None = None,
    ended: bool = False,
) -> Question:
    """The alert's expression, from itself or else from its rule by name. ToolError when there is neither.

    `ended`: its sender has resolved it. Then a rule that was changed since says what holds now: the alert's
    own text may stay true for ever, though nobody would be alerted any more.
    """
    try:
        rules = client.rule(alert_name)
    except ToolError as error:
        # Without the rule, nobody knows which labels of a row it hides: no answer now is not no rules.
        if expression is None or error.retryable:
            raise
        rules = []  # not every server that speaks the query API has rules
    if ended and expression is not None:
        expression = _changed(rules, labels, expression) or expression
    own = _own_rules(rules, labels, expression)
    queries = {rule.query for rule in own}
    if expression is None and not queries:
        raise ToolError(f"no rule is named {alert_name}, and the alert names no expression")
    if expression is None and len(queries) > 1:
        groups = ", ".join(sorted({rule.group for rule in own}))
        raise ToolError(f"several rules are named {alert_name}, in groups {groups}: which one is unknown")
    return Question(
        expression=expression or queries.pop(),
        rule_labels={name: value for rule in own for name, value in rule.labels.items()},
        rule=own[0] if own else None,
    )


def check_alert(client: Prometheus, case: Case) -> AlertCheck:
    """Evaluate the case's expression now and since its start. ToolError when no expression is known."""
    question = question_of(client, alert_name=case.alert_name, labels=case.labels, expression=case.expression)
    now = reading.read_expression(
        client,
        question.expression,
        case.labels,
        rule_labels=question.rule_labels,
        since=case.starts_at.timestamp(),
    )
    if now.at is None:
        return AlertCheck(question, now)
    last_true, was_firing = _history(client, question, case, now.at)
    if now.state is reading.ExpressionState.CLEARED and last_true is not None:
        now = _still_whole(client, question, case, now, last_true)
    return AlertCheck(question, now, was_firing, last_true)


def _own_rules(rules: list[Rule], labels: Labels, expression: str | None) -> list[Rule]:
    """Of the rules with the alert's name those that fit its expression and its labels, as far as any do."""
    same = [rule for rule in rules if rule.query == expression] or rules
    return [rule for rule in same if _fits(rule, labels)] or same


def _fits(rule: Rule, labels: Labels) -> bool:
    """Each label that the rule sets is the alert's."""
    return all(labels.get(name) == value for name, value in rule.labels.items() if "{{" not in value)


def _changed(rules: list[Rule], labels: Labels, expression: str) -> str | None:
    """What the alert's rule asks now, when it no longer asks `expression`; None when that is not certain."""
    queries = {rule.query for rule in rules if _fits(rule, labels)}
    unchanged = any(rule.query == expression for rule in rules)
    return queries.pop() if len(queries) == 1 and not unchanged else None


def _history(
    client: Prometheus, question: Question, case: Case, now: float
) -> tuple[float | None, bool | None]:
    """When the expression was last true for this alert, and whether it ever was since before its start."""
    start = min(case.starts_at.timestamp(), now)
    step = max(1.0, math.ceil((now - start + LEAD) / HISTORY_POINTS))
    # On a grid that meets the start itself: there the expression was true, if ever.
    begin = start - step * math.ceil(LEAD / step)
    alert = reading.Identity(case.labels, question.rule_labels)
    try:
        rows = client.range(question.expression, start=begin, end=now, step=step)
        times = [point[0] for row in rows if alert.is_of(row.labels) for point in row.points]
        if times:
            return max(times), True
        return None, _silence_of(client, question, case, start, rows)
    except (ToolError, PromQLError):
        return None, None


def _silence_of(
    client: Prometheus, question: Question, case: Case, start: float, rows: list[Series]
) -> bool | None:
    """Never true: False only if each selector had samples of this alert at its start, else nobody knows.

    Some are not enough: an alert of another Prometheus shares a few series with this one, but not all.
    """
    alert = reading.Identity(case.labels, question.rule_labels)
    if any(not alert.contradicts(row.labels) for row in rows):
        return None
    had = reading.selectors_with_samples(
        client, question.expression, case.labels, at=start, rule_labels=question.rule_labels
    )
    return False if had and set(had) == set(selectors(question.expression)) else None


def _still_whole(
    client: Prometheus, question: Question, case: Case, now: reading.Reading, last_true: float
) -> reading.Reading:
    """Read again, demanding each series that the expression had when it was last true."""
    try:
        had = reading.selectors_with_samples(
            client, question.expression, case.labels, at=last_true, rule_labels=question.rule_labels
        )
    except (ToolError, PromQLError) as error:
        return reading.Reading(reading.ExpressionState.UNKNOWN, str(error), at=now.at)
    if set(had) <= set(now.fresh):
        return now
    return reading.read_expression(
        client, question.expression, case.labels, rule_labels=question.rule_labels, must_be_fresh=had
    )
