"""X-Request-ID: taken over when it is sane, made when it is not, and said by every answer and log line."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from homelab import logs, middleware
from incidents.models import Incident
from tests.canaries import SECRETS
from tests.conftest import Api

pytestmark = pytest.mark.django_db
FRESH = re.compile(r"[0-9a-f]{32}")
SANE = [
    "7",
    "req_01HZX.a-b:c/d@e+f=",
    "0f0e0d0c-0b0a-0908-0706-050403020100",
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "x" * 128,
]
HOSTILE = [
    "",
    "x" * 129,
    "x" * 10_000,
    "a\nb",
    "a\r\nSet-Cookie: b",
    "a b",
    "\x00",
    "é",
    "名",
    "\x1b[31m",
    "'\"<script>",
    "-rf",
    "{{7*7}}",
]


def alert(name: str = "Down") -> dict[str, Any]:
    one = {"status": "firing", "labels": {"alertname": name}, "startsAt": datetime.now(UTC).isoformat()}
    return {"version": "4", "groupKey": name, "alerts": [one]}


@pytest.mark.parametrize("given", SANE)
def test_a_sane_one_is_taken_over_and_kept_with_the_incident(ingest: Api, viewer: Api, given: str) -> None:
    answer = ingest.post("/alert", alert(), **{"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given
    [pk] = answer.json()["incidents"]
    assert viewer.get(f"/api/v1/incidents/{pk}").json()["request_id"] == given


@pytest.mark.parametrize("given", HOSTILE)
def test_another_is_replaced(ingest: Api, given: str) -> None:
    answer = ingest.post("/alert", alert(), **{"X-Request-ID": given})
    assert answer.status_code == 200
    assert FRESH.fullmatch(answer.headers["X-Request-ID"])
    assert Incident.objects.get().request_id == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "kind", [kind for kind, (text, _) in SECRETS.items() if re.fullmatch(r"[\w.-]{1,128}", text)]
)
def test_a_secret_is_no_id(api: Callable[[str | None], Api], kind: str) -> None:
    answer = api(None).get("/health/live", **{"X-Request-ID": SECRETS[kind][0]})
    assert FRESH.fullmatch(answer.headers["X-Request-ID"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/health", 200),
        ("get", "/metrics", 200),
        ("get", "/nothing/here", 404),
        ("get", "/incidents", 401),
        ("get", "/alert", 405),
        ("post", "/alert", 401),
        ("get", "/admin/", 302),
    ],
)
def test_every_answer_says_it(client: Client, method: str, path: str, status: int) -> None:
    answer = getattr(client, method)(path, headers={"X-Request-ID": "mine-1"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (status, "mine-1")


def test_an_answer_to_our_own_mistake_says_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("incidents.api.root.HealthView.get", fails)
    client.raise_request_exception = False
    answer = client.get("/health", headers={"X-Request-ID": "mine-2"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (500, "mine-2")


def test_two_requests_have_two(client: Client) -> None:
    assert client.get("/health/live")["X-Request-ID"] != client.get("/health/live")["X-Request-ID"]


def test_a_line_of_django_itself_has_it_though_the_request_is_over(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "django.request"):
        client.get("/nothing/here", headers={"X-Request-ID": "mine-3"})
    [record] = [each for each in caplog.records if each.name == "django.request"]
    logs.ContextFilter().filter(record)
    assert vars(record)["request_id"] == "mine-3"


def test_a_slow_request_is_a_line(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(middleware, "SLOW_SECONDS", 0.0)
    with caplog.at_level(logging.WARNING, "homelab.middleware"):
        client.get("/health/live")
    said = vars(caplog.records[-1])
    assert (said["method"], said["route"], said["status"]) == ("GET", "/health/live", 200)
    assert said["seconds"] >= 0
