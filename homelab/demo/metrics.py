"""What an incident did to `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator

from agents.tools.text import number

UNSYNCED = "ai_agents_memory_unsynced"
# Those that tell the story; /metrics has the others, and their labels.
TOLD = (
    "ai_agents_alerts_total",
    "ai_agents_incidents_opened_total",
    "ai_agents_agent_runs_total",
    "ai_agents_tool_calls_total",
    "ai_agents_actions_total",
    "ai_agents_notifications_total",
    "ai_agents_incidents_closed_total",
)


def samples(text: str) -> dict[str, float]:
    """Those told, and UNSYNCED, by name, each the sum over its labels."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        name = series.partition("{")[0]
        if name in (*TOLD, UNSYNCED):
            found[name] = found.get(name, 0.0) + float(value)
    return found


def changes(before: str, after: str) -> list[tuple[str, str, str]]:
    """Name, old value, new value, in the order of the story; what was never counted was 0."""
    old, new = samples(before), samples(after)
    return [
        (name, number(old.get(name, 0.0)), number(new[name]))
        for name in TOLD
        if name in new and old.get(name, 0.0) != new[name]
    ]


def table(before: str, after: str) -> Iterator[str]:
    """A line for each that changed, aligned."""
    found = changes(before, after)
    widest = max((len(name) for name, _, _ in found), default=0)
    left = max((len(old) for _, old, _ in found), default=0)
    for name, old, new in found:
        yield f"{name:<{widest}}  {old:>{left}} → {new}"
