"""What an older version wrote survives the upgrade."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import psycopg.sql
import pytest

from tests.e2e.postgres import Postgres

ROOT = Path(__file__).parents[2]


def manage(url: str, data: Path, *arguments: str, **variables: str) -> None:
    environment = {**os.environ, **variables, "DATABASE_URL": url, "HOMELAB_DATA_DIR": str(data)}
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


def test_reads_go_on_while_the_indexes_of_lists_are_built(server: Postgres, tmp_path: Path) -> None:
    url = server.create("before_0013")
    manage(url, tmp_path, "migrate", "incidents", "0010")
    with psycopg.connect(url) as connection:
        insert(connection, "incidents_incident", alert_name="DiskFull")
    manage(url, tmp_path, "migrate", "incidents", "0013")
    with psycopg.connect(url) as reader:
        reader.execute("SELECT id FROM incidents_incident")  # its lock lasts as long as its transaction
        manage(url, tmp_path, "migrate", "incidents", "0014", PGOPTIONS="-c lock_timeout=10s")
    manage(url, tmp_path, "migrate")
    manage(url, tmp_path, "makemigrations", "--check", "--dry-run")
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT alert_name, rating FROM incidents_incident").fetchall()
        names = indexes(connection, "SELECT indexname FROM pg_indexes WHERE tablename = 'incidents_incident'")
    assert rows == [("DiskFull", None)]
    assert_only_those_of_lists(names)


def test_on_sqlite_the_indexes_are_the_same(tmp_path: Path) -> None:
    manage(f"sqlite:///{tmp_path}/new.sqlite3", tmp_path, "migrate")
    with closing(sqlite3.connect(tmp_path / "new.sqlite3")) as connection:
        names = indexes(connection, "SELECT name FROM sqlite_master WHERE tbl_name = 'incidents_incident'")
    assert_only_those_of_lists(names)


def indexes(connection: psycopg.Connection | sqlite3.Connection, query: str) -> set[str]:
    return {name for (name,) in connection.execute(query)}


def assert_only_those_of_lists(names: set[str]) -> None:
    lists = {f"incidents_by_{each}" for each in ("verdict", "severity", "source", "alert", "target")}
    assert lists <= names
    replaced = (
        "incidents_incident_alert_name_",
        "incidents_incident_target_id_",
        "incidents_incident_verdict_",
    )
    assert [name for name in names if name.startswith(replaced)] == []
