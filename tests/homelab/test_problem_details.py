"""Errors under `/api/` are problem details, whoever says no; at the root they are what they always were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import pytest
from django.db import OperationalError
from django.test import Client

from incidents import memory
from incidents.api import views
from tests.agents.rows import an_action
from tests.conftest import Api
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db
TYPES = "tag:homelab-ai-agents,2026:"


def problem(answer: Any, path: str) -> dict[str, Any]:
    """The body of an error, which is a whole problem."""
    assert answer["Content-Type"] == "application/problem+json", answer.content
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    assert (body["status"], body["instance"]) == (answer.status_code, path.partition("?")[0])
    assert body["detail"]
    return body


def test_a_parameter_that_is_wrong(viewer: Api) -> None:
    path = "/api/v1/incidents?limit=0"
    body = problem(viewer.get(path), path)
    assert (body["type"], body["title"], body["status"]) == (f"{TYPES}invalid-fields", "Invalid fields", 400)
    assert body["errors"] == {"limit": ["Ensure this value is greater than or equal to 1."]}
    assert body["detail"] == "limit: Ensure this value is greater than or equal to 1."


def test_a_body_that_is_wrong_within_a_field(operator: Api) -> None:
    path = "/api/v1/maintenance-windows"
    body = problem(operator.post(path, {"scope": "nas", "days": ["mon", "noday"], "minutes": 0}), path)
    assert list(body["errors"]) == ["scope", "days.1", "starts", "minutes"]
    assert body["errors"]["days.1"] == ['"noday" is not a valid choice.']


def test_a_body_of_another_shape(operator: Api) -> None:
    path = f"/api/v1/incidents/{an_incident().pk}/annotate"
    assert list(problem(operator.post(path, []), path)["errors"]) == ["non_field_errors"]
    assert "errors" not in problem(operator.post(path, "{"), path)  # no field can be named


def test_who_is_not_known_is_told_how_to_be(api: Callable[..., Api]) -> None:
    for headers in ({}, {"Authorization": "Bearer nobody"}):
        answer = api(None).get("/api/v1/incidents", **headers)
        body = problem(answer, "/api/v1/incidents")
        assert (body["type"], body["title"], body["status"]) == ("about:blank", "Unauthorized", 401)
        assert answer["WWW-Authenticate"] == 'Bearer realm="homelab"'


def test_who_failed_too_often_is_told_when_to_come_back(api: Callable[..., Api]) -> None:
    answers = [api(None).get("/api/v1/incidents", Authorization=f"Bearer {n}") for n in range(12)]
    assert problem(answers[-1], "/api/v1/incidents")["title"] == "Too Many Requests"
    assert int(answers[-1]["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "title"),
    [
        ("GET", "/api/v1/events", {}, 403, "Forbidden"),
        ("GET", "/api/v1/incidents/7", {}, 404, "Not Found"),
        ("GET", "/api/v1/nothing", {}, 404, "Not Found"),
        ("GET", "/api/nothing here", {}, 404, "Not Found"),
        ("GET", "/api/v1/audit.csvx%0A%0A", {}, 404, "Not Found"),
        ("DELETE", "/api/v1/targets", {}, 405, "Method Not Allowed"),
        ("GET", "/api/v1/incidents", {"Accept": "text/csv"}, 406, "Not Acceptable"),
        ("POST", "/api/v1/pauses", {"Transfer-Encoding": "chunked"}, 411, "Length Required"),
        ("GET", "/api/v1/incidents", {"Host": "evil.example"}, 400, "Bad Request"),
        ("POST", "/api/schema", {}, 405, "Method Not Allowed"),
        ("POST", "/api/v1/incidents/9999999999999999999/rate", {}, 404, "Not Found"),
    ],
)
def test_what_cannot_be_done(
    operator: Api, method: str, path: str, headers: dict[str, str], status: int, title: str
) -> None:
    sent = {**operator.headers, **headers}
    client = Client(enforce_csrf_checks=True)
    answer = client.generic(method, path, content_type="application/json", headers=sent)
    body = problem(answer, quote(unquote(path)))
    assert (body["status"], body["title"]) == (status, title)


def test_a_body_that_cannot_be_taken(operator: Api, settings: Any) -> None:
    path = f"/api/v1/incidents/{an_incident().pk}/annotate"
    form = operator.client.post(path, {"cause": "x"}, headers=operator.headers)
    assert problem(form, path)["title"] == "Unsupported Media Type"
    settings.MAX_BODY_BYTES = 20
    large = operator.post(path, {"cause": "x" * 20})
    assert problem(large, path)["status"] == 413


def test_an_answer_to_a_question_that_is_closed(operator: Api) -> None:
    path = f"/api/v1/actions/{an_action(status='rejected').pk}/approve"
    body = problem(operator.post(path), path)
    assert (body["type"], body["status"], body["action_status"]) == (f"{TYPES}not-waiting", 410, "rejected")


def test_a_memory_that_is_away(viewer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise memory.MemoryUnavailable("connection refused", retryable=True)

    monkeypatch.setattr(memory, "recall", away)
    assert problem(viewer.get("/api/v1/memory?q=x"), "/api/v1/memory")["title"] == "Service Unavailable"


def test_a_database_that_is_away(viewer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("password of the database: hunter2")

    monkeypatch.setattr(views.TargetViewSet, "get_queryset", away)
    answer = viewer.get("/api/v1/targets")
    assert problem(answer, "/api/v1/targets")["detail"] == "the database cannot be used at the moment"
    assert answer["Retry-After"] == "5"
    assert b"hunter2" not in answer.content


def test_a_mistake_of_ours(viewer: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(views.TargetViewSet, "get_queryset", broken)
    viewer.client.raise_request_exception = False
    answer = viewer.get("/api/v1/targets")
    assert problem(answer, "/api/v1/targets")["title"] == "Internal Server Error"
    assert b"hunter2" not in answer.content


def test_plain_http_where_https_is_wanted(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT, settings.SECURE_SSL_HOST = True, "ops.example"
    answer = Client().post("/api/v1/pauses")
    assert problem(answer, "/api/v1/pauses")["detail"] == "only over https: https://ops.example/api/v1/pauses"


def test_the_root_answers_as_it_always_did(viewer: Api, ingest: Api) -> None:
    assert viewer.get("/incidents?limit=0").json() == {
        "limit": ["Ensure this value is greater than or equal to 1."]
    }
    wrong = ingest.post("/alert", {"alerts": 7})
    assert (wrong.status_code, set(wrong.json())) == (400, {"status", "detail"})
    assert set(viewer.post("/alert").json()) == {"detail"}
    assert {wrong["Content-Type"], viewer.post("/alert")["Content-Type"]} == {"application/json"}
    page = viewer.get("/", Host="evil.example")
    assert (page.status_code, page["Content-Type"].partition(";")[0]) == (400, "text/html")
