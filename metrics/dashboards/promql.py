"""PromQL as the panels ask it.

Every replica tells of the whole fleet, so what they say is put together with `max`: a sum would count an
incident once for each replica. Counters survive restarts. Small counts are asked for in whole numbers, since
`increase()` extrapolates and would show 1.03 incidents.
"""

from __future__ import annotations

HERE = 'instance=~"$instance"'
# Incidents are rare: rates and quantiles over the width of a bar would mostly be of nothing.
WINDOW = "1d"


def series(metric: str, **matchers: str) -> str:
    """A selector of the chosen instances. A value that begins with `!`, `=~` or `!~` brings its operator."""
    parts = [HERE]
    for label, value in matchers.items():
        operator = next((each for each in ("!~", "=~", "!=") if value.startswith(each)), "")
        parts.append(f'{label}{operator or "="}"{value.removeprefix(operator)}"')
    return f"{metric}{{{', '.join(parts)}}}"


def fleet(metric: str, *by: str, **matchers: str) -> str:
    """A gauge or a total of the whole fleet."""
    return _max(series(metric, **matchers), by)


def in_range(metric: str, *by: str, also: tuple[str, ...] = (), **matchers: str) -> str:
    """How much a total grew in the dashboard's range, in whole numbers; `also`: labels to add up over."""
    return f"round({growth(metric, *by, also=also, **matchers)})"


def growth(
    metric: str, *by: str, also: tuple[str, ...] = (), window: str = "$__range", **matchers: str
) -> str:
    """The same for what is no count, or for another window."""
    return _sum(_max(f"increase({series(metric, **matchers)}[{window}])", (*by, *also)), by, also)


def per_bar(metric: str, *by: str, also: tuple[str, ...] = (), **matchers: str) -> str:
    """How much a total grew from one bar of a graph to the next, exactly.

    `increase()` over a bar's width would lose what happens between its last sample and the next one's first.
    A restored older database makes a total fall, hence the clamp.
    """
    one = series(metric, **matchers)
    before = f"{one} offset $__interval"
    labels = (*by, *also)
    return _sum(f"clamp_min({_max(one, labels)} - {_max(before, labels)}, 0)", by, also)


def quantile(q: float, histogram: str, *by: str, also: tuple[str, ...] = (), window: str = WINDOW) -> str:
    """Of the observations of a window, by labels; `also`: the other labels of the histogram."""
    buckets = growth(f"{histogram}_bucket", *by, "le", also=also, window=window)
    return f"histogram_quantile({q}, {buckets})"


def mean(histogram: str, *by: str, also: tuple[str, ...] = (), window: str = WINDOW) -> str:
    """The mean of the observations of a window; NaN where there is none."""
    parts = (growth(f"{histogram}_{part}", *by, also=also, window=window) for part in ("sum", "count"))
    return " / ".join(parts)


def total(expression: str, *by: str) -> str:
    """The sum: over the labels of a fleet's metric, or of what every process counts for itself."""
    return _aggregate("sum", expression, by)


def _max(expression: str, by: tuple[str, ...]) -> str:
    return _aggregate("max", expression, by)


def _sum(expression: str, by: tuple[str, ...], over: tuple[str, ...]) -> str:
    return _aggregate("sum", expression, by) if over else expression


def _aggregate(operator: str, expression: str, by: tuple[str, ...]) -> str:
    return f"{operator} by ({', '.join(by)}) ({expression})" if by else f"{operator}({expression})"
