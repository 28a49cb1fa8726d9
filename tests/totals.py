"""The tally against the tables that it counts, by plain SQL for PostgreSQL and for SQLite."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

Rows = Callable[[str], Iterable[tuple[Any, ...]]]
Series = tuple[str, ...]

TALLY = "SELECT series, amount FROM incidents_tally"
CHANGES = "SELECT amounts FROM incidents_tallychange"

# What the tally says, by how many of a series' labels are compared; and what the tables say.
TABLES = {
    ("incidents", 4): """SELECT severity_class, COALESCE(verdict, 'in_progress'), source, COUNT(*)
        FROM incidents_incident GROUP BY 1, 2, 3""",
    ("incidents_opened", 1): "SELECT COUNT(*) FROM incidents_incident",
    ("incidents_reopened", 1): "SELECT SUM(reopened) FROM incidents_incident",
    ("incidents_closed", 1): """SELECT COUNT(*) FROM incidents_event WHERE kind = 'status'
        AND (data ->> 'to' = 'closed' OR data ->> 'verdict' IS NOT NULL)""",
    ("deliveries", 2): "SELECT source, COUNT(*) FROM incidents_delivery GROUP BY source",
    ("memory", 2): "SELECT kind, COUNT(*) FROM incidents_memoryentry WHERE kind = 'incident' GROUP BY kind",
    (
        "agent_runs",
        1,
    ): """SELECT COUNT(*) FROM incidents_event WHERE kind = 'agent' AND text LIKE '% gave up: %'
        UNION ALL SELECT COUNT(*) FROM agents_step WHERE state = 'done' AND output IS NOT NULL AND started_at
        IS NOT NULL AND agent IN ('monitor', 'analyst', 'healer', 'communicator')
        AND NOT (error = 'the incident was closed')""",
    ("model_requests", 1): "SELECT COUNT(*) FROM agents_modelcall WHERE seconds IS NOT NULL",
    ("actions", 3): """SELECT kind, CASE status WHEN 'done' THEN 'executed' ELSE status END, COUNT(*)
        FROM agents_action WHERE status IN ('done', 'failed', 'unknown', 'expired', 'rejected')
        GROUP BY 1, 2""",
}
# Of an action's ways; it went the others before.
ENDS = ("executed", "failed", "unknown", "expired", "rejected")


def tally(rows: Rows) -> Counter[Series]:
    """As the program reads it, but in two statements: for when nothing is at work."""
    found: Counter[Series] = Counter()
    for series, amount in rows(TALLY):
        found[tuple(json.loads(series))] += amount
    for (amounts,) in rows(CHANGES):
        for series, amount in json.loads(amounts):
            found[tuple(series)] += amount
    return found


def differences(rows: Rows) -> list[str]:
    """What the tally says otherwise than the tables, in words."""
    counted = tally(rows)
    found = []
    for (name, labels), query in TABLES.items():
        said: Counter[Series] = Counter()
        for series, amount in counted.items():
            if series[0] == name and (name != "actions" or series[2] in ENDS):
                said[series[:labels]] += amount
        there: Counter[Series] = Counter()
        for row in rows(query):
            there[name, *row[:-1]] += int(row[-1] or 0)
        found += [
            f"{key}: counted {said[key]}, there are {there[key]}"
            for key in sorted(said.keys() | there.keys())
            if said[key] != there[key]
        ]
    return found
