"""What stands now, as gauges: one statement over rows that are open, waiting or dead, which are few, and of
which there are indexes; so it costs the same at a million incidents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import product
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from prometheus_client.core import Metric

from agents import budget
from incidents import turns
from incidents.models import SEVERITIES, Incident, MemoryEntry
from incidents.queue import State
from incidents.tally import NANO, Series
from metrics.families import Labels, gauge, gauges

OPEN = tuple(status for status in Incident.Status.values if status != Incident.Status.CLOSED)
# By kind: the table, and which of its waiting and dead rows somebody waits for, as `agents.audit` has it.
# Nobody waits for an escalation before its time, nor for a step of an incident that is over.
QUEUES = {
    "notification": (
        "incidents_notification",
        "NOT (kind = 'escalation' AND state = 'waiting' AND attempts = 0)",
        "1 = 1",
    ),
    "memory": ("incidents_memoryentry", "1 = 1", "1 = 1"),
    "job": ("incidents_job", "1 = 1", "1 = 1"),
    "step": (
        "agents_step",
        "1 = 1",
        """EXISTS (SELECT 1 FROM agents_crewrun run
        JOIN incidents_incident incident ON incident.id = incident_id
        WHERE run.id = run_id AND NOT (incident.status = 'closed') AND NOT (source = 'homelab'))""",
    ),
}
QUEUE = """
SELECT 'queue', '{kind}', state, COUNT(*), MIN(due_at) FROM {table}
WHERE state IN ('waiting', 'running') AND due_at <= %(now)s AND {counts} GROUP BY state
UNION ALL SELECT 'later', '{kind}', state, COUNT(*), NULL FROM {table}
WHERE state IN ('waiting', 'running') AND due_at > %(now)s AND {counts} GROUP BY state
UNION ALL SELECT 'queue', '{kind}', 'dead', COUNT(*), NULL FROM {table} WHERE state = 'dead' AND {needed}"""
REST = """
SELECT 'open', severity_class, status, COUNT(*), NULL FROM incidents_incident
WHERE NOT (status = 'closed') GROUP BY severity_class, status
UNION ALL SELECT 'approvals', '', '', COUNT(*), MIN(proposed_at) FROM agents_action
WHERE status = 'awaiting_approval'
UNION ALL SELECT 'problems', '', '', COUNT(*), NULL FROM incidents_problem WHERE closed_at IS NULL
UNION ALL SELECT 'memory', kind, '', COUNT(*), NULL FROM incidents_memoryentry
WHERE NOT (kind = 'incident') GROUP BY kind
UNION ALL SELECT 'turn', name, '', 0, until FROM incidents_turn WHERE name LIKE %(heartbeats)s
UNION ALL SELECT 'held', 'day', '', SUM(reserved_usd), NULL FROM agents_modelcall
WHERE reserved_usd IS NOT NULL AND started_at >= %(day)s
UNION ALL SELECT 'held', 'month', '', SUM(reserved_usd), NULL FROM agents_modelcall
WHERE reserved_usd IS NOT NULL AND started_at >= %(month)s"""
STATEMENT = " UNION ALL ".join(
    [
        *(
            QUEUE.format(kind=kind, table=table, counts=counts, needed=needed)
            for kind, (table, counts, needed) in QUEUES.items()
        ),
        REST,
    ]
)

Row = tuple[str, str, str, Any, Any]


def families(counted: Mapping[Series, int]) -> Iterator[Metric]:
    """All gauges of what stands now. One query; `counted`: the tally, for what would be too many rows."""
    rows = _rows()
    others = {(row[1],): float(row[3]) for row in _of(rows, "memory")}
    kinds = {(kind,): 0.0 for kind in MemoryEntry.Kind.values} | others
    kinds[MemoryEntry.Kind.INCIDENT.value,] = float(counted.get(("memory", MemoryEntry.Kind.INCIDENT), 0))
    yield gauges("ai_agents_memory_entries", "What is remembered, by what it is", ("kind",), kinds)
    yield from _incidents(rows)
    yield from _work(rows)
    yield gauges(
        "ai_agents_heartbeat_timestamp_seconds",
        "When a part was last seen at work; one that never was is not here",
        ("part",),
        dict(_heartbeats(rows)),
    )
    yield gauges(
        "ai_agents_budget_dollars", "US dollars that may be spent on models", ("period",), _budgets()
    )
    yield gauges(
        "ai_agents_budget_spent_dollars",
        "US dollars of models' calls since the period began, with the most that unfinished ones may cost",
        ("period",),
        {(row[1],): float(row[3] or 0) + _spent(counted, row[1]) for row in _of(rows, "held")},
    )


def _rows() -> list[Row]:
    today = budget.midnight()
    times = {"now": timezone.now(), "day": today, "month": today.replace(day=1)}
    adapt = connection.ops.adapt_datetimefield_value
    given = {name: adapt(time) for name, time in times.items()}
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, {**given, "heartbeats": f"{turns.HEARTBEAT}%"})
        rows: list[Row] = cursor.fetchall()
    return rows


def _of(rows: list[Row], kind: str) -> list[Row]:
    return [row for row in rows if row[0] == kind]


def _incidents(rows: list[Row]) -> Iterator[Metric]:
    open_now = dict.fromkeys(product(SEVERITIES, OPEN), 0.0)
    for _kind, severity, status, count, _at in _of(rows, "open"):
        open_now[severity, status] = float(count)
    yield gauges("ai_agents_incidents_open", "Incidents without a verdict", ("severity", "status"), open_now)
    [(_, _, _, waiting, since)] = _of(rows, "approvals")
    yield gauge("ai_agents_approvals_waiting", "Changes that wait for a person", float(waiting))
    yield gauge(
        "ai_agents_approval_oldest_seconds",
        "For how long the oldest of them has waited; 0 when none does",
        _age(since),
    )
    [(_, _, _, problems, _)] = _of(rows, "problems")
    yield gauge("ai_agents_problems_open", "Troubles that come back", float(problems))


def _work(rows: list[Row]) -> Iterator[Metric]:
    depth = dict.fromkeys(product(QUEUES, (State.WAITING, State.RUNNING, State.DEAD)), 0.0)
    undone = dict.fromkeys(QUEUES, 0.0)
    oldest = {(kind,): 0.0 for kind in QUEUES}
    for which, kind, state, count, since in [*_of(rows, "queue"), *_of(rows, "later")]:
        undone[kind] += float(count)
        if which == "later" and state == State.WAITING:
            continue
        depth[kind, State(state)] += float(count)
        if state == State.WAITING:
            oldest[(kind,)] = _age(since)
    yield gauges("ai_agents_queue_depth", "Rows that are due, taken or given up", ("kind", "state"), depth)
    yield gauges(
        "ai_agents_queue_oldest_seconds",
        "For how long the oldest row has been due that nobody took; 0 when there is none",
        ("kind",),
        oldest,
    )
    yield gauge(
        "ai_agents_notifications_unsent",
        "Messages that were not sent yet, given-up ones included",
        undone["notification"],
    )
    yield gauge(
        "ai_agents_memory_unsynced",
        "Entries of the memory that the index lacks or has in an older form",
        undone["memory"],
    )


def _heartbeats(rows: list[Row]) -> Iterator[tuple[Labels, float]]:
    for _kind, name, _, _, until in _of(rows, "turn"):
        yield (name.removeprefix(turns.HEARTBEAT),), _moment(until).timestamp() - turns.HEARTBEAT_SECONDS


def _spent(counted: Mapping[Series, int], period: str) -> float:
    """US dollars of calls with a known cost, which are counted by the day of TZ on which they began."""
    today = budget.midnight().date().isoformat()
    begins = today if period == "day" else today[: len("2026-11")]
    days = [
        amount for series, amount in counted.items() if series[0] == "spent" and series[1].startswith(begins)
    ]
    return sum(days) / NANO


def _budgets() -> dict[Labels, float]:
    caps = {"day": settings.LLM_BUDGET_DAILY_USD, "month": settings.LLM_BUDGET_MONTHLY_USD}
    return {(period,): cap for period, cap in caps.items() if cap is not None}


def _age(since: datetime | str | None) -> float:
    return 0.0 if since is None else max(0.0, (timezone.now() - _moment(since)).total_seconds())


def _moment(value: datetime | str) -> datetime:
    """SQLite gives what stands in the column: text, in UTC."""
    found = parse_datetime(value) if isinstance(value, str) else value
    assert found is not None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
