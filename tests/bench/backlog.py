"""A backlog of incidents, each about something else, worked to its rest on playbooks.

No integration is set up, and the memory is empty: what is measured is the crew's own work, with nobody to
wait for. An incident rests when its Communicator is done and no message of it waits: it is diagnosed then,
people are told (here by no channel), and it is watched on.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from tests.e2e.fleet import Fleet
from tests.e2e.postgres import Postgres
from tests.e2e.servers import wait_until
from tests.e2e.valkey import Valkey
from tests.homelab.program import Program

from .processes import cpu_seconds, memory_mb

INCIDENTS = 500
A_REQUEST = 50
PATIENCE = 600.0
RESTING = (
    "SELECT count(*) FROM agents_step s JOIN agents_crewrun r ON r.id = s.run_id "
    "WHERE s.agent = 'communicator' AND s.state = 'done' AND NOT EXISTS "
    "(SELECT 1 FROM incidents_notification n WHERE n.incident_id = r.incident_id AND n.state <> 'done')"
)


def measure(directory: Path) -> dict[str, Any]:
    """Taken in while no worker runs (PostgreSQL), or in a burst (embedded), until everything rests."""
    return {
        "postgresql, valkey, 2 worker processes": _production(directory / "production"),
        "embedded, sqlite": _embedded(directory / "embedded"),
    }


def _production(directory: Path) -> dict[str, Any]:
    with (
        Postgres(directory / "postgres", durable=True) as postgres,
        Valkey(directory / "valkey") as valkey,
        Fleet(
            directory,
            database=postgres.create("backlog"),
            broker=valkey.url,
            qdrant="http://127.0.0.1:1",  # nobody is there: recall is by words alone
        ) as fleet,
    ):
        fleet.kill_part("worker")
        _post(fleet)
        fleet.restart_part("worker")
        groups = {
            "worker": [fleet.pid("worker")],
            "web": [fleet.arbiter],
            "beat": [fleet.pid("beat")],
            "database": [postgres.pid],
        }
        with psycopg.connect(fleet.environment["DATABASE_URL"], autocommit=True) as connection:
            return _drain(lambda: int(connection.execute(RESTING).fetchone()[0]), groups)


def _embedded(directory: Path) -> dict[str, Any]:
    directory.mkdir()
    with Program(directory) as program:
        path = program.data / "homelab.sqlite3"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as connection:

            def resting() -> int:
                return int(connection.execute(RESTING).fetchone()[0])

            row = _drain(resting, {"program": [program.arbiter]}, before=lambda: _post(program))
        return row | memory_mb([program.arbiter])


def _drain(
    resting: Callable[[], int], groups: dict[str, list[int]], before: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Seconds until all rest, and processor milliseconds an incident of each group of processes."""
    spent = {name: cpu_seconds(pids) for name, pids in groups.items()}
    began = time.monotonic()
    before()
    wait_until(lambda: resting() >= INCIDENTS, PATIENCE, "not everything rests", 0.25)
    seconds = time.monotonic() - began
    cpu = {name: cpu_seconds(pids) - spent[name] for name, pids in groups.items()}
    return {
        "measured": "diagnosed, told, watched on; no integration, no model, empty memory",
        "incidents": INCIDENTS,
        "seconds": round(seconds, 1),
        "incidents_per_second": round(INCIDENTS / seconds, 1),
        **{f"{name}_cpu_ms": round(1000 * each / INCIDENTS, 1) for name, each in cpu.items()},
    }


def _post(program: Program) -> None:
    for _ in range(INCIDENTS // A_REQUEST):
        alerts = [_alert(f"s{secrets.token_hex(4)}") for _ in range(A_REQUEST)]
        answer = program.request("POST", "/alert", role="ingest", json={"alerts": alerts})
        if len(answer.json()["incidents"]) != A_REQUEST:
            raise RuntimeError(f"an incident for each alert was wanted: {answer.text}")


def _alert(name: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {
            "alertname": f"Alert{secrets.token_hex(4)}",
            "severity": secrets.choice(("critical", "warning")),
            "instance": f"{name}:9100",
            "container": name,
        },
        "annotations": {"summary": f"{name} is down", "description": f"{name} has been down for a minute"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
    }
