"""What an older version wrote survives the upgrade."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import psycopg.sql
import pytest

from tests.e2e.postgres import Postgres

ROOT = Path(__file__).parents[2]


def manage(url: str, data: Path, *arguments: str) -> None:
    environment = {**os.environ, "DATABASE_URL": url, "HOMELAB_DATA_DIR": str(data)}
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def insert(connection: psycopg.Connection, table: str, **values: object) -> int:
    """A row; columns that want something and got nothing get the least that they take."""
    least = {"boolean": False, "jsonb": "{}", "timestamp with time zone": "2026-11-01T00:00:00Z"}
    columns = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
        " AND is_nullable = 'NO' AND is_identity = 'NO'",
        [table],
    ).fetchall()
    numbers = {"integer", "bigint", "smallint", "double precision"}
    row = {name: least.get(kind, 0 if kind in numbers else "x") for name, kind in columns} | values
    query = psycopg.sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        psycopg.sql.Identifier(table),
        psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, row)),
        psycopg.sql.SQL(", ").join([psycopg.sql.Placeholder()] * len(row)),
    )
    found = connection.execute(query, list(row.values())).fetchone()
    assert found is not None
    return int(found[0])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


def test_entries_of_the_memory_get_a_key_and_a_title(server: Postgres, tmp_path: Path) -> None:
    url = server.create("before_0007")
    manage(url, tmp_path, "migrate", "incidents", "0006")
    with psycopg.connect(url) as connection:
        ended = {"status": "closed", "verdict": "verified", "closed_at": "2026-11-02T03:04:05Z"}
        incident = insert(connection, "incidents_incident", alert_name="DiskFull", **ended)
        insert(connection, "incidents_memoryentry", incident_id=incident, state="done")
    manage(url, tmp_path, "migrate")
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT kind, key, title, happened_at FROM incidents_memoryentry"
        ).fetchall()
    assert [(kind, key, title, at.isoformat()[:10]) for kind, key, title, at in found] == [
        ("incident", f"incident:{incident}", "DiskFull", "2026-11-02")
    ]
