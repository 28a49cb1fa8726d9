"""The first steps in the browser: what to paste, a token that is shown once, a test alert to follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings as loaded
from django.test import Client

from incidents import connect
from incidents.access import hash_token
from incidents.models import Delivery, Event, Incident, Token
from tests.conftest import Api
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db
Person = Callable[..., Client]


def text(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return str(answer.content.decode())


def test_an_empty_install_explains_itself_on_the_overview(person: Person) -> None:
    page = text(person(staff=True).get("/"))
    assert "Nothing has come yet" in page
    assert "url: http://testserver/alert" in page
    assert "Send a test alert and follow it" in page
    for source in ("homelab-test", "health-check", "homelab"):  # they come from here
        an_incident(source=source)
    assert "Nothing has come from outside yet" in text(person(name="kim").get("/"))
    an_incident()
    assert "url: http://testserver/alert" not in text(person(name="alice").get("/"))


def test_the_snippets_have_the_address_and_can_be_read(settings: Any) -> None:
    settings.METRICS_TOKEN = "a secret"
    found = {each.key: each for each in connect.snippets("https://homelab.example.org:8443", "hl_x")}
    alertmanager = yaml.safe_load(found["alertmanager"].text)
    [webhook] = alertmanager["receivers"][0]["webhook_configs"]
    assert webhook["url"] == "https://homelab.example.org:8443/alert"
    assert webhook["http_config"]["authorization"]["credentials"] == "hl_x"
    assert alertmanager["route"]["receiver"] == "homelab"
    assert {each["name"] for each in alertmanager["receivers"]} == {"homelab", "people"}
    prometheus = yaml.safe_load(found["prometheus"].text)
    [job] = prometheus["scrape_configs"]
    assert (job["scheme"], job["metrics_path"]) == ("https", "/metrics")
    assert job["static_configs"] == [{"targets": ["homelab.example.org:8443"]}]
    assert "authorization" in job
    assert "a secret" not in found["prometheus"].text
    rule = yaml.safe_load(found["rule"].text)["groups"][0]["rules"][0]
    assert rule["expr"] == "up == 0"
    for name in ("recording.yml", "alerts.yml"):  # what the snippet names is there
        assert f"homelab/{name}" in prometheus["rule_files"]
        assert (Path(loaded.BASE_DIR) / "metrics" / "prometheus" / name).is_file()


def test_public_url_goes_before_the_browsers_word(person: Person, settings: Any) -> None:
    client = person()
    assert "as your browser reached it" in text(client.get("/connect"))
    settings.PUBLIC_URL = "https://homelab.example.org"
    page = text(client.get("/connect"))
    assert "url: https://homelab.example.org/alert" in page
    assert "as your browser reached it" not in page


def test_a_token_is_shown_once_and_works(person: Person, api: Callable[[str | None], Api]) -> None:
    client = person(superuser=True)
    page = text(client.post("/connect/token"))
    token = Token.objects.get()
    secret = next(word for word in page.replace("<", " ").replace(">", " ").split() if word.startswith("hl_"))
    assert (token.role, token.digest) == ("ingest", hash_token(secret))
    assert f"credentials: {secret}" in page
    assert Event.objects.get(kind=Event.Kind.TOKEN).actor == "robin"
    assert secret not in text(client.get("/connect"))
    assert client.post("/connect/token").headers["Cache-Control"].count("no-store") == 1
    alert = {
        "alerts": [{"status": "firing", "labels": {"alertname": "A"}, "startsAt": "2026-11-23T04:00:00Z"}]
    }
    assert Api(Client(), secret).post("/alert", alert).status_code == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/connect/token", {"viewer": 403, "operator": 403, "admin": 200}),
        ("/connect/test-alert", {"viewer": 403, "operator": 302, "admin": 302}),
    ],
)
def test_who_may_do_what(person: Person, path: str, allowed: dict[str, int]) -> None:
    people = {"viewer": {}, "operator": {"staff": True}, "admin": {"superuser": True}}
    for role, rights in people.items():
        client = person(name=role, **rights)
        assert client.get(path).status_code == 405
        assert client.post(path).status_code == allowed[role], role
    assert Client().post(path)["Location"] == f"/login?next={path}"


def test_a_viewer_sees_what_to_paste_and_no_buttons(person: Person, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "first-run.json").write_text("{}")
    page = text(person().get("/connect"))
    assert "credentials: TOKEN" in page
    assert "An admin makes tokens." in page
    assert str(tmp_path) not in page
    assert str(tmp_path / "first-run.json") in text(person(name="kim", superuser=True).get("/connect"))


def test_a_test_alert_leads_to_its_incident(person: Person) -> None:
    client = person(staff=True)
    answer = client.post("/connect/test-alert", follow=True)
    incident = Incident.objects.get()
    assert answer.redirect_chain == [(f"/incidents/{incident.pk}", 302)]
    assert "A test alert was sent. It ends by itself in 30 s" in text(answer)
    assert incident.source == "homelab-test"


def test_the_page_says_what_came_last_but_not_of_tests(person: Person, ingest: Api) -> None:
    client = person(staff=True)
    client.post("/connect/test-alert")
    assert "No delivery has come yet." in text(client.get("/connect"))
    alert = {
        "alerts": [{"status": "firing", "labels": {"alertname": "A"}, "startsAt": "2026-11-23T04:00:00Z"}]
    }
    ingest.post("/alert", alert)
    assert Delivery.objects.count() == 2
    assert "The last delivery came from alertmanager" in text(client.get("/connect"))
