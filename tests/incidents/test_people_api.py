"""What people do with incidents over the API: resolve, rate, note, escalate; tokens and channels."""

from __future__ import annotations

from typing import Any

import pytest

from incidents import notifications
from incidents.models import Episode, Event, Incident, Notification, Token, Verdict
from tests.conftest import Api
from tests.incidents.rows import an_episode, an_incident

pytestmark = pytest.mark.django_db


def kinds(incident: Incident) -> list[str]:
    return list(incident.events.values_list("kind", flat=True))


def test_a_person_resolves_what_the_crew_could_not(operator: Api) -> None:
    incident = an_incident(Verdict.NOT_FIXED)
    path = f"/api/v1/incidents/{incident.pk}/resolve"
    body = operator.post(path, {"note": "a new disk"}).json()
    assert (body["verdict"], body["resolution_status"]) == ("resolved_by_human", "resolved")
    assert (body["human_note"], body["standing"]) == ("a new disk", "Resolved by a person")
    told = kinds(incident)
    again = operator.post(path, {"note": "another"})
    assert (again.status_code, again.json()["human_note"]) == (200, "a new disk")
    assert kinds(incident) == told


def test_what_is_proved_stays_proved(operator: Api) -> None:
    incident = an_incident(Verdict.VERIFIED, seconds=5)
    answer = operator.post(f"/api/v1/incidents/{incident.pk}/resolve")
    assert (answer.status_code, answer.json()["verdict"]) == (200, "verified")
    assert kinds(incident) == []


def test_a_person_rates_the_crews_cause(operator: Api, admin: Api) -> None:
    incident = an_incident(root_cause="out of memory")
    path = f"/api/v1/incidents/{incident.pk}/rate"
    body = operator.post(path, {"rating": "partly"}).json()
    assert (body["rating"], body["rated_by"]) == ("partly", "operator")
    assert operator.post(path, {"rating": "partly"}).status_code == 200
    assert kinds(incident) == ["rated"]
    assert admin.post(path, {"rating": "wrong"}).json()["rated_by"] == "admin"


def test_where_there_is_no_cause_there_is_nothing_to_rate(operator: Api) -> None:
    incident = an_incident()
    answer = operator.post(f"/api/v1/incidents/{incident.pk}/rate", {"rating": "right"})
    assert (answer.status_code, "no cause" in answer.json()["detail"]) == (409, True)
    assert Incident.objects.get().rating is None


@pytest.mark.parametrize("said", [{}, {"rating": "fine"}, {"rating": None}, []])
def test_a_rating_that_is_none(operator: Api, said: Any) -> None:
    incident = an_incident(root_cause="out of memory")
    assert operator.post(f"/api/v1/incidents/{incident.pk}/rate", said).status_code == 400


def test_notes_are_lines_of_the_timeline(operator: Api) -> None:
    incident = an_incident(Verdict.UNKNOWN)
    path = f"/api/v1/incidents/{incident.pk}/notes"
    made = [operator.post(path, {"text": text}) for text in ("I look", "password: hunter2")]
    assert [answer.status_code for answer in made] == [201, 201]
    first = made[0].json()
    assert (first["kind"], first["actor"], first["text"], first["incident"]) == (
        "noted",
        "operator",
        "I look",
        incident.pk,
    )
    assert "hunter2" not in made[1].content.decode()
    assert Incident.objects.get().human_note == ""  # that one the memory learns


@pytest.mark.parametrize("said", [{}, {"text": ""}, {"text": " \n"}, {"text": "x" * 10_001}, {"text": None}])
def test_a_note_without_words(operator: Api, said: Any) -> None:
    incident = an_incident()
    assert operator.post(f"/api/v1/incidents/{incident.pk}/notes", said).status_code == 400
    assert Event.objects.count() == 0


def test_a_call_for_help_goes_out_once(operator: Api, settings: Any) -> None:
    settings.NOTIFY_URLS, settings.ESCALATION_URLS = ["json://a.example"], ["json://b.example"]
    incident = an_incident()
    path = f"/api/v1/incidents/{incident.pk}/escalate"
    answer = operator.post(path, {"why": "too hot for me"})
    assert answer.status_code == 200
    row = Notification.objects.filter(kind="call").first()
    assert row is not None
    assert "too hot for me" in row.body
    told = Notification.objects.count()
    again = operator.post(path)
    assert (again.status_code, Notification.objects.count()) == (409, told)
    assert "on its way" in again.json()["detail"]


def test_what_is_over_calls_nobody(operator: Api) -> None:
    incident = an_incident(Verdict.UNKNOWN)
    assert operator.post(f"/api/v1/incidents/{incident.pk}/escalate").status_code == 409
    assert Notification.objects.count() == 0


def test_who_took_it_over_is_said(operator: Api) -> None:
    incident = an_incident()
    path = f"/api/v1/incidents/{incident.pk}"
    body = operator.post(f"{path}/take-over").json()
    assert (body["taken_over_by"], body["standing"]) == ("operator", "operator has it")
    assert operator.post(f"{path}/give-back").json()["taken_over_at"] is None


def test_alerts_by_what_they_are(viewer: Api) -> None:
    incident = an_incident()
    firing = an_episode(incident, labels={"alertname": "ServiceDown", "password": "hunter2"})
    over = an_episode(incident, alert_name="DiskFull", ends_at=incident.started_at)
    lone = an_episode(incident, source="other")
    Episode.objects.filter(pk=lone.pk).update(incident=None)
    table = {
        "": [lone.pk, over.pk, firing.pk],
        "firing=true": [lone.pk, firing.pk],
        "firing=false": [over.pk],
        "source=other": [lone.pk],
        f"incident={incident.pk}": [over.pk, firing.pk],
        f"incident={incident.pk}&alert_name=DiskFull": [over.pk],
    }
    answers = {query: viewer.get(f"/api/v1/alerts?{query}") for query in table}
    got = {query: [each["id"] for each in answer.json()["results"]] for query, answer in answers.items()}
    assert got == table
    one = viewer.get(f"/api/v1/alerts/{firing.pk}")
    assert (one.json()["incident"], one.json()["ends_at"]) == (incident.pk, None)
    assert one.json()["labels"]["alertname"] == "ServiceDown"
    assert "hunter2" not in one.content.decode() + answers[""].content.decode()
    assert viewer.get(f"/api/v1/alerts/{lone.pk}").json()["incident"] is None


@pytest.mark.parametrize(
    "query",
    ["firing=maybe", "source=nobody", "incident=7", "incident=x", f"incident={10**30}", "alert_name=No"],
)
def test_an_unknown_value_of_an_alerts_filter(viewer: Api, query: str) -> None:
    answer = viewer.get(f"/api/v1/alerts?{query}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [query.partition("=")[0]])


def test_a_token_is_shown_once(admin: Api) -> None:
    answer = admin.post("/api/v1/tokens", {"name": "grafana", "role": "viewer"})
    assert (answer.status_code, answer["Cache-Control"]) == (201, "no-store")
    body = answer.json()
    assert (body["name"], body["role"], body["source"], body["revoked_at"]) == (
        "grafana",
        "viewer",
        "alertmanager",
        None,
    )
    assert Api(admin.client, body["token"]).get("/api/v1/incidents").status_code == 200
    listed = admin.get("/api/v1/tokens")
    assert [each["name"] for each in listed.json()["results"]] == ["grafana", "admin"]
    assert body["token"] not in listed.content.decode()
    assert "digest" not in listed.content.decode()
    assert Event.objects.get(kind="token").actor == "admin"


def test_a_revoked_token_opens_nothing(admin: Api) -> None:
    made = admin.post("/api/v1/tokens", {"name": "grafana", "role": "viewer"}).json()
    path = f"/api/v1/tokens/{made['id']}/revoke"
    first = admin.post(path).json()
    assert first["revoked_at"] is not None
    assert Api(admin.client, made["token"]).get("/api/v1/incidents").status_code == 401
    assert admin.post(path).json() == first
    assert Event.objects.filter(kind="token").count() == 2


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"name": "x"},
        {"name": "", "role": "viewer"},
        {"name": " ", "role": "viewer"},
        {"name": "admin", "role": "viewer"},  # there is one
        {"name": "x", "role": "root"},
        {"name": "x" * 101, "role": "viewer"},
        {"name": "x", "role": "ingest", "source": ""},
    ],
)
def test_a_token_that_cannot_be_made(admin: Api, wanted: Any) -> None:
    assert admin.post("/api/v1/tokens", wanted).status_code == 400
    assert Token.objects.count() == 1


def test_channels_by_name_and_level_without_their_urls(operator: Api, settings: Any) -> None:
    settings.NOTIFY_URLS = ["json://user:hunter2@a.example"]
    settings.ESCALATION_URLS = ["ntfys://hunter2/topic"]
    answer = operator.get("/api/v1/channels")
    assert answer.json() == [{"name": "json-1", "level": 0}, {"name": "ntfys-escalation-1", "level": 1}]


def test_a_test_message(operator: Api, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.NOTIFY_URLS = ["json://user:hunter2@a.example"]
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(notifications, "send_test", lambda channel, by: sent.append((channel, by)))
    assert operator.post("/api/v1/channels/json-1/test").json() == {"status": "sent", "channel": "json-1"}
    assert operator.post("/api/v1/channels/json-2/test").status_code == 404
    assert sent == [("json-1", "operator")]


def test_a_channel_that_takes_no_test_message(
    operator: Api, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.NOTIFY_URLS = ["json://user:hunter2@a.example"]

    def refuse(*_: Any, **__: Any) -> None:
        raise notifications.NotifyError("it answered 403")

    monkeypatch.setattr(notifications, "send_test", refuse)
    answer = operator.post("/api/v1/channels/json-1/test")
    assert (answer.status_code, answer.json()["detail"]) == (502, "json-1: it answered 403")
