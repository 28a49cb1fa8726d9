"""Intake: requests a second, durable before the answer, beside a bare view with one INSERT."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.postgres import Postgres
from tests.e2e.servers import free_port
from tests.e2e.valkey import Valkey
from tests.homelab.program import ROOT, Program

from .load import Load, request_bytes, run, wait_for_port

CONCURRENCIES = (1, 8, 32)
THREADS = 8
REQUESTS = {1: 400, 8: 1600, 32: 1600}
MANY = 50
_numbers = itertools.count()


def measure(directory: Path) -> dict[str, Any]:
    """A table of loads by database, kind of request and concurrency."""
    results: dict[str, Any] = {"sqlite": _measure(directory / "sqlite", {})}
    with Postgres(directory / "postgres", durable=True) as postgres, Valkey(directory / "valkey") as valkey:
        several = {
            "REDIS_URL": valkey.url,
            "QDRANT_URL": "http://127.0.0.1:1",  # memory is no part of this
            "WEB_CONCURRENCY": "2",
        }
        database = {"DATABASE_URL": postgres.create("intake")}
        bare = {"DATABASE_URL": postgres.create("bare")}
        results["postgresql, 2 workers"] = _measure(directory / "several", several | database, bare)
    return results


def _measure(
    directory: Path, variables: dict[str, str], bare_variables: dict[str, str] | None = None
) -> dict[str, Any]:
    directory.mkdir(parents=True)
    table: dict[str, Any] = {}
    with Program(directory, **variables) as program:
        token = program.first_run()["tokens"]["ingest"]
        for kind, make in _kinds(token).items():
            for concurrency in CONCURRENCIES:
                count = REQUESTS[concurrency] // (8 if kind == f"{MANY} a request" else 1)
                load = run(program.url, make, concurrency=concurrency, requests=count)
                alerts = MANY if kind.startswith(str(MANY)) else 1
                table[f"{kind}, {concurrency} at once"] = _row(load, alerts)
    workers = variables.get("WEB_CONCURRENCY", "1")
    with _bare(bare_variables or {"DATABASE_URL": f"sqlite:///{directory}/bare.sqlite3"}, workers) as url:
        body = _body([_alert("x")])
        for concurrency in CONCURRENCIES:
            load = run(
                url,
                lambda _: request_bytes("/alert", body),
                concurrency=concurrency,
                requests=REQUESTS[concurrency],
            )
            table[f"bare view, one INSERT, {concurrency} at once"] = _row(load, 1)
    return table


def _kinds(token: str) -> dict[str, Any]:
    repeated = request_bytes("/alert", _body([_alert("repeated")]), token=token)
    return {
        "1 a request, distinct": lambda _: request_bytes(
            "/alert", _body([_alert(f"d{next(_numbers)}")]), token=token
        ),
        "1 a request, repeated": lambda _: repeated,
        f"{MANY} a request": lambda _: request_bytes(
            "/alert", _body([_alert(f"m{next(_numbers)}") for _ in range(MANY)]), token=token
        ),
    }


def _row(load: Load, alerts: int) -> dict[str, Any]:
    return {
        "requests_per_second": round(load.per_second),
        "alerts_per_second": round(load.per_second * alerts),
        "p50_ms": round(load.p50, 1),
        "p99_ms": round(load.p99, 1),
        "statuses": {str(status): count for status, count in load.statuses.items()},
    }


def _alert(name: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {
            "alertname": f"Alert {name}",
            "severity": "warning",
            "instance": f"{name}:9100",
            "job": "bench",
        },
        "annotations": {"summary": f"{name} is down", "description": "an alert of the benchmark"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
        "fingerprint": f"{abs(hash(name)):016x}"[:16],
    }


def _body(alerts: list[dict[str, Any]]) -> bytes:
    group = f'{{}}:{{alertname="{alerts[0]["labels"]["alertname"]}"}}'
    return json.dumps({"version": "4", "groupKey": group, "status": "firing", "alerts": alerts}).encode()


@contextmanager
def _bare(variables: dict[str, str], workers: str) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    server = [sys.executable, "-m", "gunicorn", "--bind", address, "--log-level", "error"]
    shape = ["--workers", workers, "--threads", str(THREADS), "--worker-class", "gthread"]
    kept = {"PATH": os.environ["PATH"]}
    argv = [*server, *shape, "tests.bench.bare:make()"]
    with subprocess.Popen(argv, cwd=ROOT, env=kept | variables) as process:
        try:
            wait_for_port(f"http://{address}")
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(20)
