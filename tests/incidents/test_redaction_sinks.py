"""A secret in an alert, of each kind, is followed to every place where it might come out again."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from agents import week
from homelab import logs
from incidents import events, memory, notifications, services
from incidents.memory.index import Index
from incidents.models import Delivery, Episode, Event, Incident, MemoryEntry, Notification, Verdict
from incidents.redaction import HIDDEN, hide_everywhere
from incidents.wording import headline
from tests.canaries import CANARY, LEAKS, OWN_SECRET
from tests.conftest import Api
from tests.incidents.chat import Chat, chat  # noqa: F401 a fixture
from tests.incidents.memory.conftest import _empty_memory, qdrant  # noqa: F401 fixtures
from tests.incidents.memory.qdrant_server import FakeQdrant

pytestmark = pytest.mark.django_db
KINDS = pytest.mark.parametrize("kind", LEAKS)
Post = Callable[[str], Incident]


@pytest.fixture(autouse=True)
def _our_secret() -> Iterator[None]:
    before = hide_everywhere({OWN_SECRET})
    yield
    hide_everywhere(before)


@pytest.fixture
def post(ingest: Api) -> Post:
    """Deliver an alert that tells a secret in its annotations and in a label."""

    def post(kind: str) -> Incident:
        text = LEAKS[kind]
        alert = {
            "status": "firing",
            "labels": {"alertname": "Down", "severity": "critical", "note": text, "api_token": CANARY},
            "annotations": {"summary": text, "description": text, "password": CANARY},
            "startsAt": "2026-11-23T04:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": f"http://prometheus:9090/graph?token={CANARY}",
        }
        answer = ingest.post("/alert", {"version": "4", "groupKey": "g", "alerts": [alert]})
        assert answer.status_code == 200, answer.content
        return Incident.objects.get(pk=answer.json()["incidents"][0])

    return post


def clean_of_it(text: str) -> None:
    assert CANARY not in text
    assert HIDDEN in text


@KINDS
def test_rows_but_for_the_delivery_and_the_labels_hold_none(post: Post, kind: str) -> None:
    incident = post(kind)
    services.annotate(incident, by="robin", cause=LEAKS[kind], note=LEAKS[kind])
    events.record(incident, Event.Kind.AGENT, "analyst", LEAKS[kind], {"note": LEAKS[kind]})
    as_sent = {("Episode", "labels"), ("Episode", "generator_url"), ("Delivery", "body")}
    for model in apps.get_app_config("incidents").get_models():
        for row in model._default_manager.values():
            kept = {name: each for name, each in row.items() if (model.__name__, name) not in as_sent}
            if model is Event and row["kind"] == Event.Kind.OPENED:
                del kept["data"]  # the labels again
            assert CANARY not in str(kept), model.__name__
    assert CANARY.encode() in bytes(Delivery.objects.get().body)


@KINDS
def test_the_chat_is_told_none(post: Post, chat: Chat, kind: str) -> None:  # noqa: F811
    post(kind)
    row = Notification.objects.get()
    Notification.objects.update(due_at=row.created_at)
    notifications.deliver(row.pk)
    clean_of_it(json.dumps(chat.messages))


@KINDS
def test_the_memory_and_its_index_hold_none(post: Post, qdrant: FakeQdrant, kind: str) -> None:  # noqa: F811
    incident = post(kind)
    secret = LEAKS[kind]
    Incident.objects.filter(pk=incident.pk).update(alert_name=secret, root_cause=secret, human_note=secret)
    incident.refresh_from_db()
    entry = memory.remember(incident)
    assert memory.sync(entry.pk)
    clean_of_it(MemoryEntry.objects.get().text)  # what is embedded
    clean_of_it(json.dumps(qdrant.points(), default=str))


@KINDS
def test_what_the_memory_is_asked_holds_none(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    asked: list[str] = []
    search = Index.search

    def listen(self: Index, query: str, **more: Any) -> Any:
        asked.append(query)
        return search(self, query, **more)

    monkeypatch.setattr(Index, "search", listen)
    memory.recall(LEAKS[kind])
    clean_of_it(*asked)


@KINDS
def test_the_api_and_the_pages_show_none(
    post: Post, viewer: Api, admin: Api, person: Callable[..., Client], kind: str
) -> None:
    incident = post(kind)
    clean_of_it(viewer.get(f"/api/v1/incidents/{incident.pk}").content.decode())
    clean_of_it(admin.get("/api/v1/events").content.decode())
    for form in ("csv", "jsonl"):
        clean_of_it(b"".join(admin.get(f"/api/v1/audit.{form}?events=all")).decode())
    clean_of_it(viewer.get("/incidents").content.decode())
    clean_of_it(person().get(f"/incidents/{incident.pk}").content.decode())
    assert CANARY not in viewer.get("/metrics").content.decode()


def deliver(ingest: Api, name: str, *, ended: bool = False, fingerprint: str = "f") -> list[int]:
    alert = {
        "status": "resolved" if ended else "firing",
        "labels": {"alertname": name, "severity": "critical"},
        "annotations": {},
        "startsAt": "2026-11-23T04:00:00Z",
        "endsAt": "2026-11-23T04:05:00Z" if ended else "0001-01-01T00:00:00Z",
        "fingerprint": fingerprint,
    }
    answer = ingest.post("/alert", {"version": "4", "groupKey": "g", "alerts": [alert]})
    assert answer.status_code == 200, answer.content
    incidents: list[int] = answer.json()["incidents"]
    return incidents


@KINDS
def test_an_alert_with_one_in_its_name_shows_it_nowhere(
    ingest: Api, viewer: Api, person: Callable[..., Client], kind: str
) -> None:
    name = f"Down {LEAKS[kind]}"
    [number] = deliver(ingest, name)
    assert deliver(ingest, name, fingerprint="another") == [number]  # it joins: a line of the timeline
    browser, operator = person(superuser=True, name="alex"), person(staff=True, name="kim")
    viewers = person(name="sam")
    episode = Episode.objects.earliest("pk")
    assert CANARY in episode.alert_name  # what its rule is called, and is asked by
    pages = ("", f"incidents/{number}", f"incidents/{number}/record", f"incidents/{number}/postmortem")
    lists = ("incident/", f"incident/{number}/change/", "episode/", f"episode/{episode.pk}/change/", "event/")
    seen = [operator.get(f"/{page}") for page in pages]
    seen += [viewers.get(f"/{page}") for page in pages]
    seen += [browser.get(f"/admin/incidents/{page}") for page in lists]
    seen += [viewer.get(f"/api/v1/{page}") for page in ("incidents", f"incidents/{number}", "alerts")]
    Incident.objects.update(status="closed", verdict=Verdict.UNKNOWN, closed_at=timezone.now())
    seen.append(viewers.get("/"))
    texts = [str(Incident.objects.get()), headline(Incident.objects.get()), week.body(week.of())]
    for answer in seen:
        assert answer.status_code == 200, answer.request["PATH_INFO"]
        assert CANARY not in answer.content.decode(), answer.request["PATH_INFO"]
    assert CANARY not in str((texts, list(Event.objects.values_list("text")), Incident.objects.values()))
    assert all("Down " in text for text in texts)


def test_an_alert_with_one_in_its_name_is_known_again(ingest: Api, viewer: Api) -> None:
    name = f"Down {LEAKS['a password by its name']}"
    [number] = deliver(ingest, name)
    assert deliver(ingest, name) == [number]
    assert deliver(ingest, name, ended=True) == [number]
    incident = Incident.objects.get()
    assert incident.ended_at is not None
    assert Episode.objects.get().ends_at is not None
    found = viewer.get(f"/api/v1/incidents?{urlencode({'alert_name': incident.alert_name})}").json()
    assert [each["id"] for each in found["results"]] == [number]
    deliver(ingest, incident.alert_name, fingerprint="called so by its rule")
    alerts = f"/api/v1/alerts?{urlencode({'alert_name': incident.alert_name})}"
    assert {each["alert_name"] for each in viewer.get(alerts).json()["results"]} == {incident.alert_name}
    assert len(viewer.get(alerts).json()["results"]) == 2
    assert viewer.get(f"/api/v1/alerts?{urlencode({'alert_name': name})}").status_code == 400
    assert memory.sync(memory.remember(incident).pk)
    [past] = memory.recall("Down", alert_name=name)
    assert "same alert" in past.why


@pytest.mark.parametrize("model", ["incident", "episode", "event", "notification"])
def test_the_admin_shows_none(post: Post, person: Callable[..., Client], model: str) -> None:
    post("a password by its name")
    browser = person(superuser=True)
    row = apps.get_model("incidents", model)._default_manager.first()
    for page in (f"/admin/incidents/{model}/", f"/admin/incidents/{model}/{row.pk}/change/"):
        answer = browser.get(page)
        assert answer.status_code == 200
        assert CANARY not in answer.content.decode()


@KINDS
@pytest.mark.parametrize("style", ["json", "text"])
def test_a_log_line_tells_none_nor_does_its_exception(style: str, kind: str) -> None:
    config = logs.config(level="INFO", style=style)
    configurator = logging.config.DictConfigurator(config)
    formatter: Any = configurator.configure_formatter(config["formatters"][style])
    try:
        raise ValueError(LEAKS[kind])
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed: %s", (LEAKS[kind],), sys.exc_info())
    logs.ContextFilter().filter(record)
    line = formatter.format(record)
    clean_of_it(line)
    if style == "json":
        said = json.loads(line)
        assert said["level"] == "ERROR"
        assert said["exc_info"].startswith("Traceback")
    else:
        assert "ValueError" in line


# --- deliveries: verbatim, and for admins ------------------------------------------------------


def test_a_delivery_is_read_by_admins_as_it_was_sent(
    post: Post, admin: Api, person: Callable[..., Client]
) -> None:
    post("a header")
    pk = Delivery.objects.get().pk
    assert CANARY in admin.get(f"/api/v1/deliveries/{pk}").json()["body"]
    page = person(superuser=True).get(f"/admin/incidents/delivery/{pk}/change/")
    assert CANARY in page.content.decode()


@pytest.mark.parametrize("role", [None, "viewer", "operator"])
@pytest.mark.parametrize("path", ["/api/v1/deliveries", "/api/v1/deliveries/{pk}"])
def test_nobody_else_reads_one_over_the_api(
    post: Post, api: Callable[[str | None], Api], settings: Any, role: str | None, path: str
) -> None:
    post("a header")
    settings.OPEN_READ = True
    answer = api(role).get(path.format(pk=Delivery.objects.get().pk))
    assert answer.status_code in (401, 403)
    assert CANARY not in answer.content.decode()


def test_nobody_else_reads_one_in_the_admin_whatever_was_granted(
    post: Post, person: Callable[..., Client]
) -> None:
    post("a header")
    browser = person(staff=True)
    User.objects.get(is_staff=True).user_permissions.add(*Permission.objects.all())
    assert browser.get("/admin/incidents/episode/").status_code == 200
    for page in ("", f"{Delivery.objects.get().pk}/change/"):
        assert browser.get(f"/admin/incidents/delivery/{page}").status_code == 403
    assert "/admin/incidents/delivery/" not in browser.get("/admin/").content.decode()


def test_a_name_that_is_cut_shows_no_part_of_one(ingest: Api) -> None:
    deliver(ingest, f"{'Down ':.<190} {OWN_SECRET}")
    episode = Episode.objects.get()
    assert OWN_SECRET[:9] in episode.alert_name
    assert OWN_SECRET[:9] not in episode.title
    assert episode.title == Incident.objects.get().alert_name
