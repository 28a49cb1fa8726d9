"""What people wait for at 1,000,000 incidents, on PostgreSQL: the admin, and the incident's own page."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import requests

from tests.bench.scrape import percentiles
from tests.e2e.postgres import Postgres
from tests.e2e.valkey import Valkey
from tests.homelab.program import ROOT, Program

SIZE = 1_000_000
TIMES = 40
LIST = "/admin/incidents/incident/"
MONTH = date.today().replace(day=1) - timedelta(days=150)
DAY = f"opened_at__year={MONTH.year}&opened_at__month={MONTH.month}"
PAGES = {
    "list": LIST,
    "list, page 200": f"{LIST}?p=200",
    "list, open": f"{LIST}?status__exact=investigating",
    "list, closed": f"{LIST}?status__exact=closed",
    "list, critical": f"{LIST}?severity_class=critical",
    "list, a rare severity": f"{LIST}?severity_class=other",
    "list, no such severity": f"{LIST}?severity_class=info&verdict__exact=false_alarm",
    "list, verified": f"{LIST}?verdict__exact=verified",
    "list, a rare verdict": f"{LIST}?verdict__exact=relapsed",
    "list, a source": f"{LIST}?source=nas",
    "list, a rare source": f"{LIST}?source=health-check",
    "list, a target": f"{LIST}?target__id__exact=7",
    "list, 7 days": f"{LIST}?opened_at__gte={date.today() - timedelta(days=7)} 00:00:00%2B00:00",
    "list, a year": f"{LIST}?opened_at__year={MONTH.year}",
    "list, a month": f"{LIST}?{DAY}",
    "list, a day": f"{LIST}?{DAY}&opened_at__day=3",
    "list, a rare verdict in a month": f"{LIST}?{DAY}&verdict__exact=relapsed",
    "search, an alert": f"{LIST}?q=Alert17",
    "search, all alerts": f"{LIST}?q=alert",
    "search, a rare alert": f"{LIST}?q=rare",
    "search, an alert of long ago": f"{LIST}?q=LongGone",
    "search, a target": f"{LIST}?q=service42",
    "search, a cause": f"{LIST}?q=machine 42 is full",
    "search, nothing": f"{LIST}?q=nothing has this",
    "search, an alert in a month": f"{LIST}?q=Alert17&{DAY}",
    "search, a number": f"{LIST}?q=%23500000",
    "change page": f"{LIST}500000/change/",
    "incident's own page": "/incidents/500000",
    "overview": "/",
    "audit": "/admin/incidents/event/",
    "turns": "/admin/agents/step/",
    "approvals": "/admin/approvals/",
    "playbooks": "/admin/playbooks/",
    "tools": "/admin/tools/",
    "budgets": "/admin/budgets/",
}


def measure(directory: Path) -> dict[str, Any]:
    web = directory / "web"
    web.mkdir()
    with Postgres(directory / "postgres", durable=True) as postgres, Valkey(directory / "valkey") as valkey:
        database = {"DATABASE_URL": postgres.create("many")}
        fill(directory / "filled", database)
        settings = {"REDIS_URL": valkey.url, "QDRANT_URL": "http://127.0.0.1:1", "WEB_CONCURRENCY": "2"}
        with Program(web, **settings, **database) as program, requests.Session() as session:
            log_in(session, program.url, program.first_run()["admin"])
            return {
                f"{SIZE} incidents": {
                    name: _asked(session, program.url, path) for name, path in PAGES.items()
                }
            }


def _asked(session: requests.Session, url: str, path: str) -> dict[str, float]:
    def ask() -> None:
        answer = session.get(f"{url}{path}", timeout=60, allow_redirects=False)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}")

    return percentiles(ask, TIMES)


def log_in(session: requests.Session, url: str, admin: dict[str, str]) -> None:
    session.get(f"{url}/login", timeout=30)
    form = {
        "username": admin["username"],
        "password": admin["password"],
        "csrfmiddlewaretoken": session.cookies["csrftoken"],
    }
    session.post(f"{url}/login", form, headers={"Referer": url}, timeout=30).raise_for_status()


def fill(directory: Path, database: dict[str, str], size: int = SIZE) -> None:
    environment = {
        **os.environ,
        **database,
        "DJANGO_SETTINGS_MODULE": "homelab.settings",
        "HOMELAB_DATA_DIR": str(directory),
    }
    argv = [sys.executable, "-m", "tests.bench.admin_alone", str(size)]
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise RuntimeError(f"filling ended with code {done.returncode}\n{done.stdout}{done.stderr}")
