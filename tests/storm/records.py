"""The program's database, read from outside: the same plain SQL for PostgreSQL and for SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psycopg

# Rows that workers claim, and whose table a killed worker leaves as it was.
QUEUES = ("agents_step", "incidents_notification", "incidents_memoryentry", "incidents_job")
Row = tuple[Any, ...]
Held = frozenset[tuple[str, int, int]]


class Records:
    """One connection, for one thread."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connection = connect()

    @classmethod
    def postgres(cls, url: str) -> Self:
        return cls(lambda: psycopg.connect(url, autocommit=True, options="-c timezone=UTC"))

    @classmethod
    def sqlite(cls, path: Path) -> Self:
        return cls(lambda: sqlite3.connect(path, timeout=20, isolation_level=None))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, query: str) -> list[Row]:
        found: list[Row] = self._connection.execute(query).fetchall()
        return found

    def count(self, tables_and_conditions: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {tables_and_conditions}")[0][0])

    def executing(self) -> frozenset[int]:
        """Actions between the commit before the call and their result."""
        return frozenset(pk for (pk,) in self.rows("SELECT id FROM agents_action WHERE status = 'executing'"))

    def given_up(self) -> set[str]:
        """Names of containers that no action will start: it is unknown, failed, refused or asked about."""
        ended = "('unknown', 'failed', 'refused', 'withdrawn', 'awaiting_approval')"
        joined = "agents_action a JOIN incidents_target t ON t.id = a.target_id"
        return {name for (name,) in self.rows(f"SELECT t.name FROM {joined} WHERE a.status IN {ended}")}

    def held(self) -> Held:
        """What workers have claimed: table, id and fence."""
        query = "SELECT id, fence FROM {} WHERE state = 'running'"
        return frozenset(
            (table, pk, fence) for table in QUEUES for pk, fence in self.rows(query.format(table))
        )

    def claims(self) -> int:
        """Grows with each claim of a row."""
        return sum(int(self.rows(f"SELECT coalesce(sum(fence), 0) FROM {table}")[0][0]) for table in QUEUES)

    def due(self) -> int:
        """Rows that a worker could claim now."""
        now = f"'{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}'"
        waiting = f"(state = 'waiting' AND due_at <= {now}) OR (state = 'running' AND lease_until < {now})"
        return sum(self.count(f"{table} WHERE {waiting}") for table in QUEUES)

    def unsettled(self) -> dict[str, int]:
        """What is still to be done, by what it is; empty when everything has come to its end."""
        live = "WHERE state IN ('waiting', 'running')"
        counts = {
            "incidents without a verdict": self.count("incidents_incident WHERE verdict IS NULL"),
            "contested alerts": self.count("incidents_episode WHERE contested_at IS NOT NULL"),
            "runs that go on": self.count("agents_crewrun WHERE finished_at IS NULL"),
            "open actions": self.count(f"agents_action WHERE status IN {OPEN_ACTIONS}"),
            "steps": self.count(f"agents_step {live}"),
            "messages": self.count(f"incidents_notification {live}"),
            "memories": self.count(f"incidents_memoryentry {live}"),
        }
        return {what: count for what, count in counts.items() if count}


OPEN_ACTIONS = ("proposed", "awaiting_approval", "approved", "executing")


def seconds(moment: datetime | str) -> float:
    """A time of the database since 1970; SQLite keeps text, in UTC."""
    if isinstance(moment, str):
        return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    return moment.timestamp()
