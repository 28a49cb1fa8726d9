"""`/health`, `/stats`, `/incidents` and the reads of `/api/v1`: their bodies, and what they refuse."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from incidents import access, liveness, memory, services, tally
from incidents.models import Delivery, Incident, Problem, Verdict
from tests.conftest import Api
from tests.incidents.rows import START, a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "status", lambda: "connected")


@pytest.fixture
def past(db: None) -> None:
    """The database of the expected bodies: three criticals and two warnings, all verified in 137 s."""
    for severity in ("critical", "warning", "critical", "page", "warning"):
        an_incident(Verdict.VERIFIED, seconds=137, severity=severity)


def test_health_counts_rows(api: Any, past: None, connected: None, settings: Any) -> None:
    answer = api(None).get("/health")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "status": "healthy",
            "service": "homelab-ai-agents",
            "version": settings.VERSION,
            "memory": {"status": "connected", "incidents": 5},
        },
    )


@pytest.mark.parametrize(
    ("remembered", "state"),
    [("connected", "healthy"), ("building", "healthy"), ("disconnected", "degraded")],
)
def test_without_its_memory_it_works_on(
    api: Any, monkeypatch: pytest.MonkeyPatch, remembered: str, state: str
) -> None:
    monkeypatch.setattr(memory, "status", lambda: remembered)
    answer = api(None).get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, state)


def test_a_database_that_is_away_is_unhealthy(
    api: Any, monkeypatch: pytest.MonkeyPatch, connected: None
) -> None:
    def away() -> int:
        raise OperationalError("password of the database: hunter2")

    monkeypatch.setattr(tally, "read", away)
    answer = api(None).get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"
    assert answer.json()["memory"]["incidents"] is None
    assert b"hunter2" not in answer.content
    assert api(None).get("/health/live").status_code == 200  # a restart would not mend the database


def test_a_dead_worker_is_unhealthy_and_not_alive(
    api: Any, connected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(liveness._CHECKS, "worker", lambda: False)
        assert api(None).get("/health").status_code == 503
        assert api(None).get("/health/live").json() == {"status": "dead"}
    assert api(None).get("/health").status_code == 200


HUGE = "x" * 1_000_000


@pytest.mark.parametrize(
    "path", ["/incidents", "/api/v1/incidents", "/api/v1/events", "/api/v1/notifications"]
)
def test_a_list_shows_the_beginning_of_a_huge_text_and_the_record_keeps_it(
    api: Any, ingest: Api, path: str
) -> None:
    labels = {"alertname": "A", "severity": "critical", "instance": HUGE}
    alert = {"status": "firing", "labels": labels, "annotations": {"summary": HUGE}}
    body = {"alerts": [{**alert, "startsAt": "2026-01-01T00:00:00Z", "fingerprint": "f"}]}
    assert ingest.post("/alert", body).status_code == 200
    admin = api("admin")
    answer = admin.get(path)
    assert answer.status_code == 200
    assert re.search(r"… \(10000\d\d characters\)", answer.content.decode())
    assert len(answer.content) < 20_000
    one = admin.get(f"/api/v1/incidents/{Incident.objects.get().pk}").json()
    assert one["episodes"][0]["labels"]["instance"] == HUGE


def test_stats_of_a_known_past(viewer: Api, past: None, settings: Any) -> None:
    body = viewer.get("/stats").json()
    assert {key: body[key] for key in ("status", "service", "version")} == {
        "status": "success",
        "service": "homelab-ai-agents",
        "version": settings.VERSION,
    }
    assert body["memory"] == {
        "total_incidents": 5,
        "success_rate": 100.0,
        "fixed_by_crew_rate": 100.0,
        "avg_resolution_time": 137,
        "by_severity": {"critical": 3, "warning": 2},
        "by_verdict": {"in_progress": 0, **dict.fromkeys(Verdict.values, 0), "verified": 5},
        "by_status": {"in_progress": 0, "resolved": 5, "escalated": 0, "attempted": 0},
    }


def test_with_nothing_closed_rates_are_unknown_not_perfect(viewer: Api) -> None:
    an_incident()
    found = viewer.get("/stats").json()["memory"]
    assert found["total_incidents"] == 1
    assert (found["success_rate"], found["fixed_by_crew_rate"], found["avg_resolution_time"]) == (None,) * 3


def test_what_counts_in_the_rates(viewer: Api) -> None:
    """Of five that count, two are proved gone and one of those by the crew; a false alarm counts nowhere."""
    an_incident(Verdict.VERIFIED, seconds=100)
    an_incident(Verdict.CLEARED_BEFORE_ACTION, seconds=300)
    for verdict in (Verdict.RESOLVED_BY_HUMAN, Verdict.NOT_FIXED, Verdict.UNKNOWN, Verdict.FALSE_ALARM):
        an_incident(verdict)
    found = viewer.get("/stats").json()["memory"]
    assert (found["success_rate"], found["fixed_by_crew_rate"]) == (40.0, 20.0)
    assert found["avg_resolution_time"] == 200
    assert found["by_status"] == {"in_progress": 0, "resolved": 4, "escalated": 1, "attempted": 1}


def test_an_incident_in_short(viewer: Api) -> None:
    target = a_target()
    incident = an_incident(
        Verdict.VERIFIED,
        seconds=137,
        target=target,
        root_cause="out of memory",
        remediation_taken="restart container docker:docker2/jellyfin",
    )
    an_episode(incident)
    an_episode(incident, target=None)
    assert viewer.get("/incidents").json() == {
        "status": "success",
        "count": 1,
        "incidents": [
            {
                "id": incident.pk,
                "alert_name": "ServiceDown",
                "description": "up was 0",
                "severity": "critical",
                "timestamp": "2026-11-23T04:00:00Z",
                "affected_systems": ["docker:docker2/jellyfin", "nas:9100"],
                "root_cause": "out of memory",
                "remediation_taken": "restart container docker:docker2/jellyfin",
                "resolution_status": "resolved",
                "resolution_time": 137.0,
                "verdict": "verified",
                "waiting_for": None,
            }
        ],
    }


def test_what_is_not_known_yet_is_null(viewer: Api) -> None:
    an_incident()
    shown = viewer.get("/incidents").json()["incidents"][0]
    unknown = ("root_cause", "remediation_taken", "resolution_time", "verdict", "waiting_for")
    assert {name: shown[name] for name in unknown} == dict.fromkeys(unknown)
    assert shown["resolution_status"] == "in_progress"


def test_a_persons_cause_goes_before_the_crews(viewer: Api) -> None:
    an_incident(Verdict.UNKNOWN, root_cause="out of memory", human_cause="the cat")
    assert viewer.get("/incidents").json()["incidents"][0]["root_cause"] == "the cat"


@pytest.mark.parametrize(
    ("status", "waiting_for"), [("awaiting_approval", "approval"), ("proving", "proof"), ("acting", None)]
)
def test_what_an_incident_waits_for(viewer: Api, status: str, waiting_for: str | None) -> None:
    an_incident(status=status)
    assert viewer.get("/incidents").json()["incidents"][0]["waiting_for"] == waiting_for


def test_times_are_utc_whatever_people_here_read(viewer: Api, settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    an_incident()
    assert viewer.get("/incidents").json()["incidents"][0]["timestamp"] == "2026-11-23T04:00:00Z"


def errors(answer: Any) -> Any:
    """What is wrong, by field: at the root that is all of the body."""
    body = answer.json()
    return body["errors"] if answer["Content-Type"] == "application/problem+json" else body


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [each["id"] for each in answer.json()["incidents"]]


@pytest.mark.parametrize(("limit", "count"), [("1", 1), ("3", 3), ("10", 10), ("1000", 12)])
def test_a_limit(viewer: Api, limit: str, count: int) -> None:
    made = [an_incident().pk for _ in range(12)]
    assert ids(viewer.get(f"/incidents?limit={limit}")) == made[::-1][:count]


def test_ten_unless_asked_otherwise(viewer: Api) -> None:
    for _ in range(12):
        an_incident()
    assert len(ids(viewer.get("/incidents"))) == 10


@pytest.mark.parametrize("path", ["/incidents", "/api/v1/incidents", "/api/v1/targets"])
@pytest.mark.parametrize("limit", ["0", "-1", "abc", "1001", str(10**9), "9" * 5000, "", "1.5", "1e3", "%00"])
def test_a_limit_that_is_none_is_a_400_with_the_reason(viewer: Api, path: str, limit: str) -> None:
    answer = viewer.get(f"{path}?limit={limit}")
    assert answer.status_code == 400
    assert errors(answer)["limit"]


@pytest.mark.parametrize(
    "query",
    [
        "status=open",
        "status=",
        "severity=page",
        "alert_name=Nobody",
        "alert_name=%00",
        "before=x",
        "before=0",
    ],
)
@pytest.mark.parametrize("path", ["/incidents", "/api/v1/incidents"])
def test_an_unknown_value_of_a_filter_is_a_400(viewer: Api, path: str, query: str) -> None:
    an_incident()
    answer = viewer.get(f"{path}?{query}")
    assert answer.status_code == 400
    assert list(errors(answer)) == [query.split("=", maxsplit=1)[0]]


def test_an_unknown_parameter_is_ignored(viewer: Api) -> None:
    assert len(ids(viewer.get("/incidents?color=red"))) == 0


def test_filters(viewer: Api) -> None:
    running = an_incident(severity="page").pk
    fixed = an_incident(Verdict.VERIFIED, severity="warning", alert_name="DiskFull").pk
    human = an_incident(Verdict.RESOLVED_BY_HUMAN, severity="odd").pk
    failed = an_incident(Verdict.NOT_FIXED, severity="info").pk
    unproved = an_incident(Verdict.UNKNOWN, severity="critical").pk
    table = {
        "status=in_progress": [running],
        "status=resolved": [human, fixed],
        "status=escalated": [failed],
        "status=attempted": [unproved],
        "severity=critical": [unproved, running],
        "severity=other": [human],
        "alert_name=DiskFull": [fixed],
        "status=resolved&severity=warning": [fixed],
    }
    assert {query: ids(viewer.get(f"/incidents?{query}")) for query in table} == table


def test_the_api_has_more_filters(viewer: Api) -> None:
    target = a_target()
    first = an_incident(Verdict.VERIFIED, seconds=60, target=target, opened_at=START)
    second = an_incident(Verdict.UNKNOWN, source="other", opened_at=START + timedelta(hours=1))
    third = an_incident(opened_at=START + timedelta(hours=2))
    problem = Problem.objects.create(signature="s", title="t", last_seen_at=START)
    problem.incidents.add(first)
    table = {
        "verdict=verified": [first.pk],
        "verdict=verified&status=in_progress": [],
        "source=other": [second.pk],
        "target=docker:docker2/jellyfin": [first.pk],
        f"problem={problem.pk}": [first.pk],
        "opened_before=2026-11-23T05:00:00Z": [first.pk],
        "opened_after=2026-11-23T06:00:00%2B01:00": [third.pk, second.pk],
        "opened_after=2026-11-23T05:00:00Z&opened_before=2026-11-23T06:00:00Z": [second.pk],
        "closed_after=2026-11-23T04:01:00Z": [second.pk, first.pk],
        "closed_before=2026-11-23T04:01:00Z": [],
    }
    answers = {query: viewer.get(f"/api/v1/incidents?{query}") for query in table}
    got = {query: [each["id"] for each in answer.json()["results"]] for query, answer in answers.items()}
    assert got == table
    assert len(ids(viewer.get("/incidents?verdict=verified"))) == 3  # the root keeps to its contract


@pytest.mark.parametrize(
    "query",
    [
        "verdict=fine",
        "source=nobody",
        "target=nas",
        "problem=7",
        f"problem={10**30}",
        "opened_after=yesterday",
        "closed_before=0001-01-01T00:00:00%2B14:00",
    ],
)
def test_an_unknown_value_of_these_filters_is_a_400(viewer: Api, query: str) -> None:
    answer = viewer.get(f"/api/v1/incidents?{query}")
    assert (answer.status_code, list(errors(answer))) == (400, [query.split("=", maxsplit=1)[0]])


def test_pages_by_id_do_not_shift_when_incidents_arrive(viewer: Api) -> None:
    made = [an_incident().pk for _ in range(5)][::-1]
    assert ids(viewer.get("/incidents?limit=2")) == made[:2]
    an_incident()
    assert ids(viewer.get(f"/incidents?limit=2&before={made[1]}")) == made[2:4]
    assert ids(viewer.get(f"/incidents?before={10**30}"))


def test_the_api_says_where_the_next_page_is(viewer: Api) -> None:
    made = [an_incident().pk for _ in range(3)][::-1]
    first = viewer.get("/api/v1/incidents?limit=2&severity=critical").json()
    assert [each["id"] for each in first["results"]] == made[:2]
    last = viewer.get(first["next"].removeprefix("http://testserver")).json()
    assert ([each["id"] for each in last["results"]], last["next"]) == (made[2:], None)


@pytest.mark.parametrize("path", ["/incidents?limit=1000", "/api/v1/incidents?limit=1000", "/stats"])
def test_the_number_of_queries_does_not_grow(viewer: Api, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "REMEMBER_SECONDS", 0)  # the token is looked up each time

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert viewer.get(path).status_code == 200
        return len(seen)

    target = a_target()
    an_episode(an_incident(target=target))
    few = queries()
    for _ in range(20):
        incident = an_incident(Verdict.VERIFIED, seconds=1, target=target)
        an_episode(incident)
        an_episode(incident, target=None)
    assert queries() == few <= 5


def test_an_incident_whole(viewer: Api) -> None:
    incident = an_incident()
    an_episode(incident)
    services.acknowledge(incident, by="robin")
    body = viewer.get(f"/api/v1/incidents/{incident.pk}").json()
    assert body["episodes"][0]["labels"]["instance"] == "nas:9100"
    assert body["episodes"][0]["starts_at"] == START.isoformat().replace("+00:00", "Z")
    assert [event["kind"] for event in body["events"]] == ["acknowledged"]
    assert body["acknowledged_by"] == "robin"
    unknown = ("human_cause", "certainty", "rung", "target", "previous", "closed_at")
    assert {name: body[name] for name in unknown} == dict.fromkeys(unknown)


@pytest.mark.parametrize("pk", ["0", "7", "9" * 18, "9" * 19, "9" * 5000, "x", "%00"])
def test_an_incident_that_is_not_there(viewer: Api, pk: str) -> None:
    assert viewer.get(f"/api/v1/incidents/{pk}").status_code == 404


def test_a_delivery_shows_its_body_as_text(admin: Api) -> None:
    row = Delivery.objects.create(source="am", body=b'{"alerts": [] \xff', alerts=0)
    assert "body" not in admin.get("/api/v1/deliveries").json()["results"][0]
    assert admin.get(f"/api/v1/deliveries/{row.pk}").json()["body"] == '{"alerts": [] \ufffd'


def test_the_memory_can_be_searched(viewer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    found = memory.Recalled(
        entry_id=1,
        incident_id=7,
        alert_name="DiskFull",
        text="the disk was full",
        score=0.9,
        dense=None,
        lexical=0.5,
        why=("same alert",),
        payload={},
    )

    def recall(*arguments: Any, **options: Any) -> list[memory.Recalled]:
        asked.append((arguments, options))
        return [found]

    monkeypatch.setattr(memory, "recall", recall)
    body = viewer.get("/api/v1/memory?q=disk+full&limit=3").json()
    assert asked == [(("disk full",), {"alert_name": None, "limit": 3})]
    assert body == {
        "count": 1,
        "results": [
            {
                "incident": 7,
                "alert_name": "DiskFull",
                "text": "the disk was full",
                "score": 0.9,
                "dense": None,
                "lexical": 0.5,
                "why": ["same alert"],
            }
        ],
    }


def test_a_memory_that_is_away_is_a_503(viewer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise memory.MemoryUnavailable("connection refused", retryable=True)

    monkeypatch.setattr(memory, "recall", away)
    assert viewer.get("/api/v1/memory?q=x").status_code == 503


@pytest.mark.parametrize("query", ["", "q=", "q=%00", "q=x&limit=0", "q=" + "x" * 2001])
def test_a_search_for_nothing_is_a_400(viewer: Api, query: str) -> None:
    assert viewer.get(f"/api/v1/memory?{query}").status_code == 400
