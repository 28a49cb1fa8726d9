"""Prometheus's HTTP API as typed values. Times are seconds since 1970 by Prometheus's own clock."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from agents.tools.base import ToolError
from agents.tools.http import AnswerError, get_json, without_credentials

T = TypeVar("T")
Labels = Mapping[str, str]

QUERY_DEADLINE = 10.0  # seconds


@dataclass(frozen=True)
class Sample:
    """A row of an instant query. `timestamp` is the time of evaluation; `value` may be NaN or infinite."""

    labels: Labels
    value: float
    timestamp: float


class Samples(list[Sample]):
    """Rows, with what Prometheus warned about: with a warning, rows may be missing."""

    def __init__(self, rows: Iterator[Sample], warnings: tuple[str, ...] = ()) -> None:
        super().__init__(rows)
        self.warnings = warnings


@dataclass(frozen=True)
class Series:
    """A row of a range query: (time, value) pairs, oldest first."""

    labels: Labels
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Rule:
    """An alerting rule. `duration` (its `for`) and `interval` in seconds; labels may hold templates."""

    name: str
    group: str
    query: str
    duration: float
    interval: float | None
    labels: Labels
    annotations: Labels
    state: str | None  # "firing", "pending", "inactive"
    health: str | None  # "ok", "err", "unknown"
    last_error: str | None


@dataclass(frozen=True)
class Target:
    """A scraped target. `health` is "up", "down" or "unknown"; `last_scrape` is RFC 3339."""

    job: str | None
    instance: str | None
    labels: Labels
    health: str
    last_error: str | None
    last_scrape: str | None
    scrape_url: str


@dataclass(frozen=True)
class Alert:
    """An alert that Prometheus holds active. `state` is "firing" or "pending"; `active_at` is RFC 3339."""

    labels: Labels
    annotations: Labels
    state: str
    active_at: str | None
    value: float | None


class Prometheus:
    """One Prometheus (or what speaks its API). Every method raises ToolError and nothing else."""

    def __init__(self, url: str, *, deadline: float = QUERY_DEADLINE) -> None:
        self.url = url.rstrip("/")
        self.deadline = deadline

    def instant(self, expr: str, at: float | None = None) -> Samples:
        """The rows of `expr` at a time, now by default. A scalar is one row without labels."""
        params = {"query": expr, "timeout": _time(self.deadline)}
        if at is not None:
            params["time"] = _time(at)
        data, warnings = self._get("query", params)
        return _typed(lambda: Samples(_samples(data), warnings))

    def range(self, expr: str, *, start: float, end: float, step: float) -> list[Series]:
        """The rows of `expr` at `start`, `start` + `step`… up to `end`; at most 11,000 points a row."""
        params = {
            "query": expr,
            "start": _time(start),
            "end": _time(end),
            "step": _time(step),
            "timeout": _time(self.deadline),
        }
        data, _ = self._get("query_range", params)
        return _typed(lambda: [Series(row["metric"], _points(row)) for row in data["result"]])

    def now(self) -> float:
        """Prometheus's own clock: samples carry its times, not ours."""
        return self.instant("time()")[0].value

    def rule(self, alert_name: str) -> list[Rule]:
        """The alerting rules of that name; several groups may have one."""
        # Filtered here: the parameter `rule_name[]` is newer than the oldest Prometheus we talk to.
        data, _ = self._get("rules", {"type": "alert"})
        return _typed(
            lambda: [
                _rule(group, rule)
                for group in data["groups"]
                for rule in group["rules"]
                if rule.get("type") == "alerting" and rule["name"] == alert_name
            ]
        )

    def targets(self) -> list[Target]:
        """Active targets of every job."""
        data, _ = self._get("targets", {"state": "active"})
        return _typed(lambda: [_target(each) for each in data["activeTargets"]])

    def alerts(self) -> list[Alert]:
        """Pending and firing alerts of this Prometheus's own rules."""
        data, _ = self._get("alerts", {})
        return _typed(lambda: [_alert(each) for each in data["alerts"]])

    def version(self) -> str:
        """As its build information names it."""
        data, _ = self._get("status/buildinfo", {})
        return _typed(lambda: str(data["version"]))

    def _get(self, path: str, params: Mapping[str, str]) -> tuple[Any, tuple[str, ...]]:
        """`data` and `warnings` of an answer."""
        try:
            body = get_json(f"{self.url}/api/v1/{path}", params, deadline=self.deadline + 2)
        except AnswerError as error:
            if not isinstance(error.body, dict) or "error" not in error.body:
                raise
            raise _refusal(error.body, retryable=error.retryable) from error
        if not isinstance(body, dict) or body.get("status") not in ("success", "error"):
            raise ToolError("this is not the answer of a Prometheus: " + json.dumps(body)[:200])
        if body["status"] == "error":
            raise _refusal(body, retryable=False)
        return body.get("data"), tuple(map(str, body.get("warnings") or ()))


class OneLook(Prometheus):
    """For one look at many alerts, that nothing may hold up for long.

    It is of one moment: the time is asked once, and so is whatever several alerts want to know of it. All of
    it together has `seconds`, and after a failure that only time may mend nothing more is asked: every
    further question fails as the first did, which `failed` keeps.
    """

    def __init__(self, url: str, *, seconds: float, deadline: float = QUERY_DEADLINE) -> None:
        super().__init__(url, deadline=deadline)
        self.failed: str | None = None
        self._most = deadline
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._answers: dict[tuple[Any, ...], tuple[Any, tuple[str, ...]]] = {}

    def _get(self, path: str, params: Mapping[str, str]) -> tuple[Any, tuple[str, ...]]:
        question = (path, *sorted(each for each in params.items() if each[0] != "timeout"))
        if question in self._answers:
            return self._answers[question]
        if self.failed is not None:
            raise ToolError(self.failed, retryable=True)
        self.deadline = min(self._most, self._ends - time.monotonic())
        try:
            if self.deadline <= 0:
                raise ToolError(f"a look takes longer than {self._seconds:g} s", retryable=True)
            answer = super()._get(path, params)
        except ToolError as error:
            self.failed = str(error) if error.retryable else None
            raise
        self._answers[question] = answer
        return answer


_shared: ContextVar[OneLook | None] = ContextVar("look", default=None)


@contextmanager
def sharing(look: OneLook | None) -> Iterator[None]:
    """Whoever reads Prometheus inside reads it with the same look."""
    token = _shared.set(look)
    try:
        yield
    finally:
        _shared.reset(token)


def shared() -> OneLook | None:
    """The look that whoever called shares, if any."""
    return _shared.get()


def _refusal(body: Mapping[str, Any], *, retryable: bool) -> ToolError:
    kind, text = body.get("errorType"), body.get("error")
    return ToolError(f"Prometheus says {kind}: {text}", retryable=retryable)


def _typed(read: Callable[[], T]) -> T:
    try:
        return read()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ToolError(f"an answer of Prometheus has an unknown shape: {error!r}") from error


def _time(seconds: float) -> str:
    """A time or a span as every parameter takes it; with a unit, Prometheus takes whole numbers alone."""
    return f"{seconds:.3f}"


def _samples(data: Any) -> Iterator[Sample]:
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        yield Sample({}, float(result[1]), float(result[0]))
        return
    if kind != "vector":
        raise ToolError(f"the expression gives a {kind}; an instant vector or a number is needed")
    for row in result:
        # Skipping such a row would make an expression look empty that is not.
        if "value" not in row:
            raise ToolError("the expression gives native histograms; use histogram_quantile() or the like")
        yield Sample(row["metric"], float(row["value"][1]), float(row["value"][0]))


def _points(row: Any) -> tuple[tuple[float, float], ...]:
    if "values" not in row:
        raise ToolError("the expression gives native histograms; use histogram_quantile() or the like")
    return tuple((float(at), float(value)) for at, value in row["values"])


def _rule(group: Any, rule: Any) -> Rule:
    interval = group.get("interval")
    return Rule(
        name=rule["name"],
        group=group["name"],
        query=rule["query"],
        duration=float(rule.get("duration") or 0),
        interval=float(interval) if interval else None,
        labels=rule.get("labels") or {},
        annotations=rule.get("annotations") or {},
        state=rule.get("state"),
        health=rule.get("health"),
        last_error=rule.get("lastError") or None,
    )


def _target(target: Any) -> Target:
    labels = target["labels"]
    return Target(
        job=labels.get("job"),
        instance=labels.get("instance"),
        labels=labels,
        health=target["health"],
        last_error=without_credentials(target["lastError"]) if target.get("lastError") else None,
        # Go's zero time: never scraped yet
        last_scrape=None if target["lastScrape"].startswith("0001-") else target["lastScrape"],
        scrape_url=without_credentials(target["scrapeUrl"]),
    )


def _alert(alert: Any) -> Alert:
    return Alert(
        labels=alert["labels"],
        annotations=alert.get("annotations") or {},
        state=alert["state"],
        active_at=alert.get("activeAt"),
        value=float(alert["value"]) if alert.get("value") else None,
    )
