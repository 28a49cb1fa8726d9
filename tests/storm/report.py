"""The table of a storm, and whether its promises held."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from .plan import RECOVERY_P95
from .recovery import percentile
from .storm import Result

SHOWN = 20
STEPS = {"ready_at": "it is ready", "rows_at": "its rows are free", "works_at": "work goes on"}


def broken(result: Result) -> list[str]:
    """The promises that were broken, in words."""
    refused = sum(count for said, count in result.ledger.answers.items() if said.startswith("4"))
    left = sum(each.seconds is None for each in result.losses)
    return [
        *(f"{what}: {len(found)}" for what, found in result.audit.broken.items() if found),
        *([f"answers of 4xx to good alerts: {refused}"] if refused else []),
        *([f"kills without recovery: {left}"] if left else []),
    ]


def fell_short(result: Result) -> list[str]:
    """The figures of the plan that were not reached, and the time to recover."""
    plan, found = result.plan, result.audit
    reached = {
        "incidents": (found.incidents, plan.incidents),
        "alerts acknowledged": (result.ledger.alerts, plan.alerts),
        "actions begun": (found.actions, plan.actions),
        "kills": (len(result.losses), plan.kills),
        "kills in a change": (sum(bool(each.cut_off) for each in result.losses), plan.in_window),
    }
    short = [f"{what}: {got}, wanted {least}" for what, (got, least) in reached.items() if got < least]
    p95 = percentile([each.seconds for each in result.losses if each.seconds is not None], 0.95)
    return [*short, *([f"recovery p95: {p95:.1f} s"] if p95 > RECOVERY_P95 else [])]


def lines(result: Result) -> Iterator[str]:
    """The table, for people."""
    found, ledger = result.audit, result.ledger
    load = f"load average {result.load:.1f} on {os.cpu_count()} processors"
    yield f"{result.mode}, {result.seconds:.0f} s, seed {result.seed}, {load}"
    for what, value in {
        "alerts acknowledged": f"{ledger.alerts} in {len(ledger.acked)} deliveries, {ledger.late} late",
        "answers to senders": _counts(ledger.answers),
        "incidents": f"{found.incidents} of {result.outages} outages, {found.reopened} reopened",
        "verdicts": _counts(found.verdicts),
        "actions": f"{found.actions} begun; {_counts(found.action_ends)}",
        "restarts at the engines": f"{found.restarts}; {result.started_by_hand} started by hand",
        "kills": _kills(result),
        "unknown": f"{found.verdicts['unknown']} incidents, {found.action_ends['unknown']} actions",
    }.items():
        yield f"  {what:<32} {value}"
    for part in [*sorted({each.part for each in result.losses}), "all"]:
        losses = [each for each in result.losses if part in (each.part, "all")]
        yield f"  {f'recovery, {part}':<32} {_spread([each.seconds for each in losses])}"
        for step in ("ready_at", "rows_at", "works_at"):
            yield f"    {STEPS[step]:<30} {_spread([each.after(step) for each in losses])}"
    for what, names in found.broken.items():
        yield f"  {what:<32} {len(names)}"
        yield from (f"      {name}" for name in names[:SHOWN])


def _spread(values: list[float | None]) -> str:
    known = [each for each in values if each is not None]
    if not known:
        return "none"
    return (
        f"p50 {percentile(known, 0.5):.1f} s, p95 {percentile(known, 0.95):.1f} s, "
        f"longest {max(known):.1f} s, {len(known)} of {len(values)}"
    )


def _kills(result: Result) -> str:
    parts = Counter(str(each.part) for each in result.losses)
    moments = Counter(str(each.moment) for each in result.losses if each.cut_off)
    return (
        f"{len(result.losses)}: {_counts(parts)}; in a change {moments.total()} "
        f"(aimed at: {_counts(moments)})"
    )


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common()) or "none"
