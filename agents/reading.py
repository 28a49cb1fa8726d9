"""Is the alert's own expression true now, and may its silence be believed? The reading that proof rests on.

The alert's labels are never added to the expression as matchers: a label that only the rule or a relabelling
set would make the result empty, and so every alert look cleared. Rows are compared with the alert instead.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agents.promql import PromQLError, selectors
from agents.tools.base import ToolError
from agents.tools.prometheus_client import Prometheus, Samples
from agents.tools.text import utc

Labels = Mapping[str, str]


class ExpressionState(StrEnum):
    FIRING = "firing"
    CLEARED = "cleared"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reading:
    """One look at an expression, for one alert.

    `at` is when, by Prometheus's clock; None when it could not be asked. `rows` counts all rows of the
    expression, of other alerts too. `fresh` and `stale` are the selectors that do and do not return a new
    enough sample of this alert; `newest` says when each one's newest was taken, None without one.
    """

    state: ExpressionState
    reason: str
    value: float | None = None
    at: float | None = None
    rows: int = 0
    fresh: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    newest: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Identity:
    """The alert's labels as a row of its expression can have them."""

    labels: Labels
    rule_labels: Labels

    def compared(self, row: Labels) -> dict[str, str]:
        """The row's labels that say something about identity: what the rule sets hides the row's own."""
        hidden = {"__name__", "alertname", *self.rule_labels}
        return {name: value for name, value in row.items() if value and name not in hidden}

    def contradicts(self, row: Labels) -> bool:
        """A label that both have differs: the row is of something else."""
        return any(self.labels.get(name, value) != value for name, value in self.compared(row).items())

    def is_of(self, row: Labels) -> bool:
        """Each label of the row is the alert's: the row is this alert."""
        return all(self.labels.get(name) == value for name, value in self.compared(row).items())


def read_expression(
    client: Prometheus,
    expr: str,
    labels: Labels,
    *,
    rule_labels: Labels | None = None,
    newer_than: float | None = None,
    must_be_fresh: Collection[str] = (),
    since: float | None = None,
) -> Reading:
    """Read `expr` for the alert with `labels`. Never raises: what cannot be told is UNKNOWN, with the reason.

    `rule_labels` are those that the rule itself sets. `newer_than`: samples at or before this time, by
    Prometheus's clock, prove nothing. `must_be_fresh`: selectors that had samples before, so must have now;
    when none is named, those are that had some at `since`, the alert's start, or all if that is unknown.
    """
    alert = Identity(labels, rule_labels or {})
    now: float | None = None
    try:
        now = client.now()
        rows = client.instant(expr, now)
        found = _read_rows(rows, alert)
        newest = _newest_samples(client, expr, alert, now, must_be_fresh, lenient=found is not None)
        fresh = tuple(each for each, time in newest.items() if _is_fresh(time, newer_than))
        stale = tuple(each for each in newest if each not in fresh)
        if found is None:
            missing = [each for each in stale if each in must_be_fresh]
            if not must_be_fresh:
                missing = _had_before(client, stale, alert, since) or ([] if fresh else list(stale))
            found = (*_judge_silence(newest, fresh, missing, newer_than), None)
    except (ToolError, PromQLError) as error:
        return Reading(ExpressionState.UNKNOWN, str(error), at=now)
    state, reason, value = found
    return Reading(state, reason, value, now, len(rows), fresh, stale, newest)


def selectors_with_samples(
    client: Prometheus, expr: str, labels: Labels, *, at: float, rule_labels: Labels | None = None
) -> tuple[str, ...]:
    """The selectors of `expr` that returned samples of this alert at that time. ToolError, PromQLError."""
    alert = Identity(labels, rule_labels or {})
    return tuple(each for each in selectors(expr) if newest_sample(client, each, alert, at) is not None)


def _is_fresh(time: float | None, newer_than: float | None) -> bool:
    return time is not None and (newer_than is None or time > newer_than)


def _had_before(
    client: Prometheus, stale: Collection[str], alert: Identity, since: float | None
) -> list[str]:
    """Of the selectors without new samples those that had some when the alert began.

    One that never had any (a maintenance flag, say) may stay silent. One that had some and is silent may be
    why the expression is: the other side of a division is no proof for it.
    """
    if since is None:
        return list(stale)
    return [each for each in stale if newest_sample(client, each, alert, since) is not None]


def newest_sample(client: Prometheus, selector: str, alert: Identity, at: float) -> float | None:
    """When the newest sample of this alert that the selector returned at that time was taken; None without.

    `timestamp()` gives a sample's own time; the time of a plain query's row is that of the query.
    """
    rows = client.instant(f"timestamp({selector})", at)
    return max((row.value for row in rows if not alert.contradicts(row.labels)), default=None)


def _newest_samples(
    client: Prometheus, expr: str, alert: Identity, at: float, also: Collection[str], *, lenient: bool
) -> dict[str, float | None]:
    """The newest sample of each selector. `lenient`: rows decide already, so failing to look is no matter."""
    try:
        wanted = dict.fromkeys((*selectors(expr), *also))
        return {selector: newest_sample(client, selector, alert, at) for selector in wanted}
    except (ToolError, PromQLError):
        if lenient:
            return {}
        raise


def _read_rows(rows: Samples, alert: Identity) -> tuple[ExpressionState, str, float | None] | None:
    """What the rows alone decide: state, reason, value. None when no row is, or may be, this alert."""
    for row in rows:
        if alert.is_of(row.labels):
            return ExpressionState.FIRING, "the expression is true", row.value
    for row in rows:
        if not alert.contradicts(row.labels):
            extra = sorted(name for name in alert.compared(row.labels) if name not in alert.labels)
            reason = f"ambiguous: a row of the expression has labels that the alert lacks: {', '.join(extra)}"
            return ExpressionState.UNKNOWN, reason, row.value
    if rows.warnings:
        reason = f"rows may be missing, Prometheus warns: {'; '.join(rows.warnings)}"
        return ExpressionState.UNKNOWN, reason, None
    return None


def _judge_silence(
    newest: Mapping[str, float | None],
    fresh: Collection[str],
    missing: Collection[str],
    newer_than: float | None,
) -> tuple[ExpressionState, str]:
    """No row is this alert. That clears it only if the series it reads are still there, with new samples."""
    gone = [each for each in missing if newest[each] is None]
    if not newest:
        return ExpressionState.UNKNOWN, "the expression reads no series, so its silence cannot be checked"
    if gone:
        return ExpressionState.UNKNOWN, f"series gone: {', '.join(gone)} returns no sample of this alert"
    if missing and newer_than is not None:
        return ExpressionState.UNKNOWN, f"no sample newer than {utc(newer_than)} of {', '.join(missing)}"
    return ExpressionState.CLEARED, f"no longer true, with fresh samples of {', '.join(fresh)}"
