"""Incidents that are looked for, on a real PostgreSQL: by words, by rare values, and how it plans that."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from incidents import finding
from incidents.access import create_token
from incidents.models import Incident, Role, Verdict
from tests.conftest import Api
from tests.incidents.rows import a_target, an_incident

from .on_postgres import on_postgres, server

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]


def plan_cache_mode() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW plan_cache_mode")
        return str(cursor.fetchone()[0])


def test_a_list_is_planned_for_its_values_and_nothing_else_is() -> None:
    with finding.planned_by_value():
        assert plan_cache_mode() == "force_custom_plan"
    assert plan_cache_mode() == "auto"


@pytest.mark.parametrize("path", ["/api/v1/incidents", "/incidents"])
def test_a_filtered_list_of_the_api_is_never_planned_for_any_value(path: str) -> None:
    """PostgreSQL would from the sixth time on, and walk the table for a name that is rare."""
    for number in range(20):
        an_incident(alert_name=f"A{number}")
    viewer = Api(Client(), create_token(name="viewer", role=Role.VIEWER)[1])
    for number in range(20):
        assert viewer.get(f"{path}?alert_name=A{number}").status_code == 200
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT statement, generic_plans FROM pg_prepared_statements "
            'WHERE statement LIKE \'%"incidents_incident"."alert_name" = %\''
        )
        plans = dict(cursor.fetchall())
    assert len(plans) == 2, "whether it is a name, and the list"
    assert set(plans.values()) == {0}


def test_a_filtered_list_of_the_admin_is_never_planned_for_any_value(django_user_model: type) -> None:
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("robin"))  # type: ignore[attr-defined]
    for number in range(20):
        assert client.get(f"/admin/incidents/notification/?channel=chat-{number}").status_code == 200
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT generic_plans FROM pg_prepared_statements "
            'WHERE statement LIKE \'%"incidents_notification"."channel" = %\''
        )
        assert cursor.fetchall() == [(0,)]


def test_by_words() -> None:
    disk = an_incident(alert_name="DiskFull")
    station = an_incident(target=a_target("diskstation"))
    worn = an_incident(root_cause="100 % of the disk's life is used")
    an_incident()
    everything = Incident.objects.all()
    assert set(finding.matching(everything, "DISK")) == {disk, station, worn}
    assert list(finding.matching(everything, "100 %")) == [worn]
    assert list(finding.matching(everything, f"#{disk.pk}")) == [disk]
    assert finding.alert_names() == ["DiskFull", "ServiceDown"]


def test_the_admins_list(django_user_model: type) -> None:
    target = a_target()
    for verdict in Verdict:
        an_incident(verdict, seconds=1, target=target, source="nas")
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("robin"))  # type: ignore[attr-defined]
    for query in ("", "source=nas", "verdict__exact=relapsed", "q=service", "opened_at__year=2026", "p=2"):
        assert client.get(f"/admin/incidents/incident/?{query}").status_code == 200, query


def test_an_odd_address_of_the_admin_is_no_error(django_user_model: type, settings: Any) -> None:
    an_incident(target=a_target())
    client = Client()
    client.force_login(django_user_model.objects.create_superuser("robin"))  # type: ignore[attr-defined]
    for address in (
        "incidents/incident/?alert_name=%00",
        "incidents/incident/?source=%00",
        "incidents/incident/?status__exact=%00",
        "incidents/event/?kind=%00",
        "agents/toolcall/?tool=%00",
        "autocomplete/?app_label=incidents&model_name=incident&field_name=target&term=%00",
    ):
        assert client.get(f"/admin/{address}").status_code == 400, address
    settings.TIME_ZONE = "Europe/Berlin"
    for query in (
        "opened_at__year=9999&opened_at__month=12&opened_at__day=31",
        "opened_at__year=1&opened_at__month=1&opened_at__day=1",
        "target__id__exact=12345678901234567890123",
    ):
        assert client.get(f"/admin/incidents/incident/?{query}").status_code in (200, 302), query
