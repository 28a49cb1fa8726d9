"""Every read of the API, with its filters, on a real PostgreSQL: it is stricter about types and groups."""

from __future__ import annotations

import pytest
from django.test import Client

from agents import periods
from incidents import memory
from incidents.access import create_token
from incidents.models import Role
from tests.conftest import Api
from tests.homelab.household import a_household
from tests.homelab.test_permissions import TABLE

from .on_postgres import on_postgres, server

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]

FILTERED = (
    "incidents?status=attempted&severity=critical&alert_name=DiskFull&verdict=unknown&before=1000",
    "incidents?target=docker:docker2/sonarr&opened_after=2000-01-01T00:00:00Z&closed_before=2999-01-01",
    "incidents?problem={problem}",
    "alerts?firing=false&incident={ended}&alert_name=ServiceDown",
    "actions?status=awaiting_approval&incident={incident}&target=docker:docker2/jellyfin",
    "problems?status=open",
    "audit.csv?events=all&since=2000-01-01T00:00:00Z&incident={ended}",
    "audit.jsonl?kind=closed&actor=proof",
    "stats?since=2024-11-20T00:00:00Z&until=2025-02-20T00:00:00Z&bucket=day",
    *(f"stats?period={period}" for period in periods.PERIODS),
    "slo?weeks=53",
    "costs?days=366",
)


def test_every_read_of_the_api() -> None:
    rows = a_household()
    admin = Api(Client(), create_token(name="admin", role=Role.ADMIN)[1])
    paths = [name.removeprefix("GET ") for name in TABLE if name.startswith("GET ")]
    for path in (*paths, *FILTERED):
        answer = admin.get(f"/api/v1/{path.format(**rows)}")
        assert answer.status_code == 200, (path, answer.content)
        assert b"".join(answer)
    memory.forget_index()


def test_what_a_period_came_to() -> None:
    a_household()
    viewer = Api(Client(), create_token(name="viewer", role=Role.VIEWER)[1])
    total = viewer.get("/api/v1/stats?period=24h").json()["total"]
    counted = ("incidents", "ended", "success_rate", "model_calls", "unpriced_calls", "cost_usd")
    assert [total[name] for name in counted] == [2, 1, 0.0, 1, 1, None]
    memory.forget_index()
