"""What an incident did to `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator

from agents.tools.text import number

PREFIX = "ai_agents_"
# Of a histogram its count and sum say enough here; buckets would be most of the list.
LEFT_OUT = ("_bucket", "_created")


def samples(text: str) -> dict[str, float]:
    """Our series and their values, in the order of the text."""
    found = {}
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        name = series.partition("{")[0]
        if name.startswith(PREFIX) and not name.endswith(LEFT_OUT):
            found[series] = float(value)
    return found


def changes(before: str, after: str) -> list[tuple[str, str, str]]:
    """Series, old value, new value; a series that was not there before is said to be new."""
    old, new = samples(before), samples(after)
    return [
        (series, number(old[series]) if series in old else "new", number(value))
        for series, value in new.items()
        if series not in old or number(old[series]) != number(value)
    ]


def table(before: str, after: str) -> Iterator[str]:
    """A line for each series that changed, aligned."""
    found = changes(before, after)
    widest = max((len(series) for series, _, _ in found), default=0)
    left = max((len(old) for _, old, _ in found), default=0)
    for series, old, new in found:
        yield f"{series:<{widest}}  {old:>{left}} → {new}"
