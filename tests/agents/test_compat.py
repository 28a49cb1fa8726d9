"""The three names that users of the first generation import."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import agents
from incidents.alertmanager import PayloadError
from incidents.models import Incident, Job

pytestmark = pytest.mark.django_db


def test_handle_alert_takes_a_webhooks_payload(golden: Callable[[str], bytes]) -> None:
    from agents import handle_alert  # noqa: PLC0415 the import is what is tested

    answer = handle_alert(json.loads(golden("firing_grouped_3alerts")))
    assert answer == {"alerts": 3, "quarantined": 0, "incidents": [Incident.objects.get().pk]}
    with pytest.raises(PayloadError, match="alerts"):
        handle_alert({})


def test_scheduled_health_check_asks_the_server_for_one() -> None:
    from agents import scheduled_health_check  # noqa: PLC0415 the import is what is tested

    pk = scheduled_health_check()
    assert Job.objects.get(name="health_check").pk == pk


def test_incident_memory_recalls() -> None:
    from agents import incident_memory  # noqa: PLC0415 the import is what is tested

    assert incident_memory.recall("a disk is full") == []


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError):
        _ = agents.no_such_name
