"""What people say of incidents over the API, and JSON that is none."""

from __future__ import annotations

from typing import Any

import pytest

from incidents.models import Event, Incident, Job, Verdict
from tests.conftest import Api
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db


def test_a_person_says_how_it_ended(operator: Api) -> None:
    incident = an_incident()
    answer = operator.post(
        f"/api/v1/incidents/{incident.pk}/annotate",
        {"cause": "the cat", "note": "on the keyboard", "verdict": "resolved_by_human"},
    )
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert (body["verdict"], body["resolution_status"]) == ("resolved_by_human", "resolved")
    assert (body["human_cause"], body["human_note"], body["annotated_by"]) == (
        "the cat",
        "on the keyboard",
        "operator",
    )
    said = Event.objects.get(incident=incident, kind="annotated", actor="operator")
    assert said.text == "cause: the cat; note: on the keyboard; verdict: resolved_by_human"


def test_an_annotation_may_change_one_thing_only(operator: Api) -> None:
    incident = an_incident(human_note="kept")
    operator.post(f"/api/v1/incidents/{incident.pk}/annotate/", {"cause": "the cat"})
    incident.refresh_from_db()
    assert (incident.human_cause, incident.human_note, incident.verdict) == ("the cat", "kept", None)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"verdict": "verified"},
        {"verdict": None},
        {"verdict": "fine"},
        {"cause": 5e400},
        {"cause": ["x"]},
        {"note": "x" * 10_001},
        [],
        "cause",
        None,
    ],
)
def test_an_annotation_that_says_nothing_is_a_400(operator: Api, said: Any) -> None:
    incident = an_incident()
    assert operator.post(f"/api/v1/incidents/{incident.pk}/annotate", said).status_code == 400
    assert Incident.objects.get().annotated_at is None


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b'{"cause": NaN}',
        b'{"cause": Infinity}',
        b'{"cause": "\\u0000"}',
        b'{"cause": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"cause": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"cause":' * 100_000,
    ],
)
def test_json_that_is_none_is_a_400(operator: Api, body: bytes) -> None:
    incident = an_incident()
    answer = operator.post(f"/api/v1/incidents/{incident.pk}/annotate", body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("JSON")


def test_json_over_the_cap_is_a_413(operator: Api, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 20
    incident = an_incident()
    answer = operator.post(f"/api/v1/incidents/{incident.pk}/annotate", {"cause": "x" * 20})
    assert answer.status_code == 413


def test_another_content_type_is_a_415(operator: Api) -> None:
    incident = an_incident()
    answer = operator.client.post(
        f"/api/v1/incidents/{incident.pk}/annotate", {"cause": "x"}, headers=operator.headers
    )
    assert answer.status_code == 415


def test_the_first_one_who_acknowledges_stays(operator: Api, admin: Api) -> None:
    incident = an_incident(Verdict.UNKNOWN)
    path = f"/api/v1/incidents/{incident.pk}/acknowledge"
    assert operator.post(path).json()["acknowledged_by"] == "operator"
    again = admin.post(path)
    assert (again.status_code, again.json()["acknowledged_by"]) == (200, "operator")


@pytest.mark.parametrize("path", ["/trigger-health-check", "/trigger-health-check/"])
def test_a_health_check_is_queued(operator: Api, path: str) -> None:
    answer = operator.post(path)
    job = Job.objects.get(name="health_check")
    assert answer.status_code == 202
    assert answer.json() == {"status": "accepted", "job": job.pk, "detail": "a health check is queued"}
    assert job.requested_by == "operator"
    operator.post(path)
    assert Job.objects.count() == 1
