"""What a scrape and the lists cost at 1,000 and at 1,000,000 incidents, on PostgreSQL."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.e2e.postgres import Postgres
from tests.e2e.valkey import Valkey
from tests.homelab.program import ROOT, Program

SIZES = (1_000, 1_000_000)
TIMES = 100
LISTS = {"/stats": "/stats", "/incidents, 100": "/incidents?limit=100", "/health": "/health"}


def measure(directory: Path) -> dict[str, Any]:
    """For each size the collectors alone, then what a client waits for."""
    table: dict[str, Any] = {}
    web = directory / "web"
    web.mkdir()
    with Postgres(directory / "postgres", durable=True) as postgres, Valkey(directory / "valkey") as valkey:
        database = {"DATABASE_URL": postgres.create("scraped")}
        for size in SIZES:
            alone = _alone(directory / f"{size}", database, size)
            settings = {"REDIS_URL": valkey.url, "QDRANT_URL": "http://127.0.0.1:1", "WEB_CONCURRENCY": "2"}
            with Program(web, **settings, **database) as program:
                token = program.first_run()["tokens"]["viewer"]
                table[f"{size} incidents"] = {"ours, collected": alone, **_asked(program.url, token)}
    return table


def _alone(directory: Path, database: dict[str, str], size: int) -> dict[str, Any]:
    environment = {
        **os.environ,
        **database,
        "DJANGO_SETTINGS_MODULE": "homelab.settings",
        "HOMELAB_DATA_DIR": str(directory),
    }
    argv = [sys.executable, "-m", "tests.bench.scrape_alone", str(size), str(TIMES)]
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    if done.returncode:
        raise RuntimeError(f"the scrape ended with code {done.returncode}\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _asked(url: str, token: str) -> dict[str, Any]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        return {
            name: percentiles(lambda path=path: session.get(f"{url}{path}", timeout=30).raise_for_status())
            for name, path in {**LISTS, "/metrics, whole": "/metrics"}.items()
        }


def percentiles(work: Callable[[], object], times: int = TIMES) -> dict[str, float]:
    """Milliseconds of one call, after a few that do not count."""
    took = []
    for number in range(times + 5):
        began = time.perf_counter()
        work()
        if number >= 5:
            took.append(1000 * (time.perf_counter() - began))
    took.sort()
    return {"p50_ms": round(statistics.median(took), 1), "p95_ms": round(took[int(0.95 * times)], 1)}
