"""A person's yes and no over the API, pauses and windows, another look, and the health check."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from agents.health import SOURCE
from agents.models import Action, CrewRun, Pause, Step
from incidents.models import Event, Incident, Job, Verdict
from tests.agents.rows import an_action
from tests.conftest import Api
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db


def test_an_approval_lets_the_executor_begin(operator: Api) -> None:
    action = an_action()
    answer = operator.post(f"/api/v1/actions/{action.pk}/approve")
    assert answer.status_code == 200, answer.content
    assert (answer.json()["status"], answer.json()["decided_by"]) == ("approved", "operator")
    assert Incident.objects.get().status == "acting"
    assert Step.objects.filter(agent="executor").count() == 1
    assert Event.objects.filter(kind="approved", actor="operator").exists()


def test_a_rejection_keeps_its_reason(operator: Api) -> None:
    action = an_action()
    answer = operator.post(f"/api/v1/actions/{action.pk}/reject/", {"reason": "a backup runs"})
    assert (answer.json()["status"], answer.json()["result"]) == ("rejected", "a backup runs")
    assert Incident.objects.get().status == "proving"


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_an_answer_is_used_once(operator: Api, decision: str) -> None:
    action = an_action()
    assert operator.post(f"/api/v1/actions/{action.pk}/{decision}").status_code == 200
    again = operator.post(f"/api/v1/actions/{action.pk}/approve")
    assert again.status_code == 410
    assert again.json()["action_status"] == Action.objects.get().status
    assert Step.objects.filter(agent="executor").count() == (decision == "approve")


def test_an_answer_after_the_time_is_gone(operator: Api) -> None:
    action = an_action(expires_at=timezone.now() - timedelta(seconds=1))
    answer = operator.post(f"/api/v1/actions/{action.pk}/approve")
    assert (answer.status_code, answer.json()["action_status"]) == (410, "awaiting_approval")
    assert Action.objects.get().decided_at is None


def test_an_action_that_is_not_there(operator: Api) -> None:
    assert operator.post("/api/v1/actions/7/approve").status_code == 404
    assert operator.get(f"/api/v1/incidents/{'9' * 18}/runs").status_code == 404


def test_a_pause_and_its_end(operator: Api) -> None:
    target = a_target()
    until = timezone.now() + timedelta(hours=1)
    made = operator.post(
        "/api/v1/pauses", {"scope": target.key, "until": until.isoformat(), "reason": "I work on it"}
    )
    assert made.status_code == 201, made.content
    assert (made.json()["by"], made.json()["lifted_at"]) == ("operator", None)
    lifted = operator.post(f"/api/v1/pauses/{made.json()['id']}/lift")
    assert lifted.json()["lifted_at"] is not None
    again = operator.post(f"/api/v1/pauses/{made.json()['id']}/lift")
    assert again.json()["lifted_at"] == lifted.json()["lifted_at"]
    assert list(Event.objects.values_list("kind", flat=True)) == ["paused", "resumed"]


@pytest.mark.parametrize("scope", ["*", "host:docker2", "docker:docker2/jellyfin"])
def test_what_can_be_paused(operator: Api, scope: str) -> None:
    a_target()
    assert operator.post("/api/v1/pauses", {"scope": scope}).status_code == 201
    assert Pause.objects.get().scope == scope


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"scope": ""},
        {"scope": "jellyfin"},
        {"scope": "host:docker3"},
        {"scope": "host:"},
        {"scope": "*", "until": "2020-01-01T00:00:00Z"},
        {"scope": "*", "until": "soon"},
        {"scope": "*", "until": "9999-12-31T23:59:59-23:00"},
        {"scope": "*", "until": "9999-12-31T23:59:59Z"},
        {"scope": "*", "reason": "x" * 301},
        {"scope": 5e400},
        [],
    ],
)
def test_a_pause_that_would_not_brake_is_a_400(operator: Api, wanted: Any) -> None:
    a_target()
    assert operator.post("/api/v1/pauses", wanted).status_code == 400
    assert Pause.objects.count() == 0


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_the_end_of_a_pause_is_utc_and_a_moment_in_every_zone(
    operator: Api, person: Any, settings: Any, zone: str
) -> None:
    settings.TIME_ZONE = zone
    tomorrow = f"{timezone.now() + timedelta(days=1):%Y-%m-%d}"
    made = operator.post("/api/v1/pauses", {"scope": "*", "until": f"{tomorrow}T12:00:00"})
    assert (made.status_code, made.json()["until"]) == (201, f"{tomorrow}T12:00:00Z")
    for until in ("9999-12-31T20:00:00-05:00", "9999-12-31T20:00:00Z"):
        assert operator.post("/api/v1/pauses", {"scope": "*", "until": until}).status_code == 400
    assert person().get("/").status_code == 200


def test_a_window_and_its_end(operator: Api) -> None:
    wanted = {"scope": "*", "days": ["sun"], "starts": "03:00", "minutes": 90, "reason": "backups"}
    made = operator.post("/api/v1/maintenance-windows", wanted)
    assert made.status_code == 201, made.content
    assert (made.json()["by"], made.json()["days"], made.json()["ended_at"]) == ("operator", ["sun"], None)
    path = f"/api/v1/maintenance-windows/{made.json()['id']}/end"
    ended = operator.post(path).json()
    assert ended["ended_at"] is not None
    assert operator.post(path).json() == ended
    assert list(Event.objects.values_list("kind", flat=True)) == ["paused", "resumed"]


@pytest.mark.parametrize("starts", ["03:00Z", "03:00:00+02:00", "24:00", "3 pm", 3, None])
def test_the_start_of_a_window_is_a_time_on_the_wall(operator: Api, starts: Any) -> None:
    answer = operator.post("/api/v1/maintenance-windows", {"scope": "*", "starts": starts, "minutes": 90})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["starts"])


def test_actions_by_what_they_are(viewer: Api) -> None:
    asked = an_action()
    done = an_action(target=a_target("sonarr"), status="done")
    table = {
        "": [done.pk, asked.pk],
        "status=awaiting_approval": [asked.pk],
        "status=expired": [],
        f"incident={asked.incident_id}": [asked.pk],
        f"incident={asked.incident_id}&status=done": [],
        "target=docker:docker2/sonarr": [done.pk],
    }
    answers = {query: viewer.get(f"/api/v1/actions?{query}").json()["results"] for query in table}
    assert {query: [each["id"] for each in found] for query, found in answers.items()} == table


@pytest.mark.parametrize("query", ["status=open", "status=", "incident=7", "incident=-1", "target=nas"])
def test_an_unknown_value_of_an_actions_filter(viewer: Api, query: str) -> None:
    an_action()
    answer = viewer.get(f"/api/v1/actions?{query}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [query.partition("=")[0]])


def test_the_crew_looks_again_once(operator: Api) -> None:
    incident = an_incident(Verdict.UNKNOWN)
    path = f"/api/v1/incidents/{incident.pk}/investigate-again"
    answer = operator.post(path)
    run = CrewRun.objects.get()
    assert (answer.status_code, answer.json()["id"], answer.json()["finished_at"]) == (202, run.pk, None)
    assert Incident.objects.get().status == "investigating"
    again = operator.post(path)
    assert (again.status_code, CrewRun.objects.count()) == (409, 1)
    assert again.json()["detail"] == "it is investigating"
    assert operator.post("/api/v1/incidents/7777/investigate-again").status_code == 404


def test_the_health_check_says_what_it_found(viewer: Api, operator: Api, settings: Any) -> None:
    settings.PROMETHEUS_URL = "http://robin:hunter2@prometheus.example:9090"
    before = viewer.get("/api/v1/health-checks").json()
    assert (before["state"], before["checked_at"], before["findings"]) == ("never", None, [])
    queued = operator.post("/api/v1/health-checks")
    assert (queued.status_code, queued.json()["job"]) == (202, Job.objects.get().pk)
    result = {"findings": {}, "incidents": [], "errors": {"prometheus": "connection refused"}}
    Job.objects.update(last_finished_at=timezone.now(), result=result)
    found = an_episode(an_incident(source=SOURCE))
    body = operator.get("/api/v1/health-checks").json()
    assert (body["state"], body["requested_by"]) == ("waiting", "operator")
    assert [each["id"] for each in body["findings"]] == [found.pk]
    states = {each["name"]: (each["state"], each["detail"]) for each in body["dependencies"]}
    assert states["Prometheus"] == ("failing", "connection refused")
    assert "hunter2" not in str(body)
    details = {each["detail"] for each in viewer.get("/api/v1/health-checks").json()["dependencies"]}
    assert details == {None}


def test_a_health_check_that_is_asked_for_twice_is_one(operator: Api) -> None:
    first, second = (operator.post("/api/v1/health-checks").json() for _ in range(2))
    assert (first["job"], Job.objects.count()) == (second["job"], 1)
