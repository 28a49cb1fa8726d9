"""The audit trail as a file: who decided what, when, about what; and nothing that runs in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.test import Client

from incidents import jobs, services, trail
from incidents.access import create_token, revoke_token
from incidents.models import Event, Incident, Notification, Rating, Role, Verdict
from incidents.queue import State
from tests.conftest import Api
from tests.incidents.rows import a_target, an_incident

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def an_event(kind: Event.Kind = Event.Kind.NOTED, *, minutes: float = 0, **fields: Any) -> Event:
    at = START + timedelta(minutes=minutes)
    return Event.objects.create(**{"kind": kind, "at": at, "actor": "alice", "text": "words", **fields})


def told(client: Api, form: str = "jsonl", **query: Any) -> list[dict[str, Any]]:
    answer: Any = client.client.get(f"/api/v1/audit.{form}", query, headers=client.headers)
    assert answer.status_code == 200, answer.content
    body = b"".join(answer.streaming_content).decode()
    if form == "csv":
        return list(csv.DictReader(io.StringIO(body)))
    return [json.loads(line) for line in body.splitlines()]


# --- what is exported ------------------------------------------------------------------------------


def test_a_line_says_who_decided_what_when_and_about_what(admin: Api) -> None:
    incident = an_incident(target=a_target())
    services.acknowledge(incident, by="alice")
    [line] = told(admin)
    event = Event.objects.get()
    assert line == {
        "id": event.pk,
        "at": line["at"],
        "kind": "acknowledged",
        "actor": "alice",
        "incident": incident.pk,
        "alert": "ServiceDown",
        "target": "docker:docker2/jellyfin",
        "text": "acknowledged",
        "data": {},
    }
    assert line["at"].endswith("Z")
    assert abs(datetime.fromisoformat(line["at"]) - event.at) < timedelta(milliseconds=1)


def test_both_forms_say_the_same(admin: Api) -> None:
    an_event(text='a "quoted",\nline', data={"b": 1, "a": "ü"})
    [line], [row] = told(admin), told(admin, "csv")
    assert list(row) == list(trail.COLUMNS)
    assert (row["text"], json.loads(row["data"])) == (line["text"], line["data"])
    assert row["incident"] == ""


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_no_cell_is_a_formula(admin: Api, text: str) -> None:
    an_event(text=text, actor=text)
    [row] = told(admin, "csv")
    assert (row["text"], row["actor"]) == (f"'{text}", f"'{text}")
    assert told(admin)[0]["text"] == text, "where nothing runs, nothing is changed"


def test_labels_are_redacted_when_they_leave(admin: Api) -> None:
    an_event(incident=an_incident(alert_name="Down password=hunter2hunter2"))
    assert "hunter2" not in json.dumps(told(admin))


def test_what_merely_happened_is_left_out_unless_it_is_wanted(admin: Api) -> None:
    for kind in (Event.Kind.NOTIFIED, Event.Kind.APPROVED, Event.Kind.PROOF):
        an_event(kind)
    assert [line["kind"] for line in told(admin)] == ["approved"]
    assert [line["kind"] for line in told(admin, events="all")] == ["notified", "approved", "proof"]
    assert [line["kind"] for line in told(admin, kind="proof")] == ["proof"]


def test_the_filters(admin: Api) -> None:
    incident = an_incident()
    an_event(minutes=0, actor="alice")
    an_event(minutes=1, actor="bob", incident=incident)
    an_event(Event.Kind.APPROVED, minutes=2, actor="alice")
    assert [line["id"] for line in told(admin)] == sorted(Event.objects.values_list("pk", flat=True))
    assert len(told(admin, actor="alice")) == 2
    assert len(told(admin, incident=incident.pk)) == 1
    assert len(told(admin, kind="approved")) == 1
    assert len(told(admin, since="2026-11-23T04:01:00Z")) == 2
    assert len(told(admin, until="2026-11-23T05:01:00+01:00")) == 1, "that is 04:01 UTC, which is not before"


@pytest.mark.parametrize("query", ["since=yesterday", "kind=nothing", "incident=0", "events=some"])
def test_a_bad_filter_is_told(admin: Api, query: str) -> None:
    answer = admin.get(f"/api/v1/audit.csv?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["errors"]


def test_it_is_a_file_and_a_caller_may_ask_for_its_type(admin: Api) -> None:
    answer = admin.get("/api/v1/audit.csv", Accept="text/csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"].startswith('attachment; filename="audit-')
    assert admin.get("/api/v1/audit.jsonl", Accept="application/x-ndjson").status_code == 200


@pytest.mark.parametrize("role", [None, "ingest", "viewer", "operator"])
def test_it_is_for_admins_alone(api: Callable[[str | None], Api], settings: Any, role: str | None) -> None:
    settings.OPEN_READ = True
    assert api(role).get("/api/v1/audit.csv").status_code in (401, 403)


def test_the_admin_leads_to_it_who_may_have_it(person: Callable[..., Client]) -> None:
    for name, is_admin in (("boss", True), ("robin", False)):
        client = person(staff=True, superuser=is_admin, name=name)
        page = client.get("/admin/incidents/event/").content.decode()
        assert ('href="/api/v1/audit.csv"' in page) == is_admin
        assert client.get("/api/v1/audit.csv").status_code == (200 if is_admin else 403)


def test_it_is_read_in_pages(
    admin: Api, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(trail, "PAGE", 3)
    events = [an_event(minutes=number) for number in range(8)]
    with django_assert_num_queries(1 + 4):
        assert [line["id"] for line in trail.of({})] == [event.pk for event in events]


def test_what_is_written_while_it_is_read_does_not_keep_it_going(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "PAGE", 2)
    for _ in range(4):
        an_event()
    seen = 0
    for _ in trail.of({}):
        seen += 1
        an_event()
    assert seen == 4


def test_memory_does_not_grow_with_the_number_of_events() -> None:
    def peak(number: int) -> int:
        rows = [Event(kind=Event.Kind.NOTED, actor="alice", text="x" * 1000) for _ in range(number)]
        Event.objects.bulk_create(rows)
        del rows
        tracemalloc.start()
        try:
            assert sum(1 for _ in trail.as_csv(trail.of({}))) == Event.objects.count() + 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak(2 * trail.PAGE)
    assert peak(10 * trail.PAGE) < 1.5 * few


# --- that every decision is an event ---------------------------------------------------------------


def kinds() -> list[str]:
    """With actors, of what was decided since the beginning; accounts of the test itself left out."""
    return [
        f"{line['kind']} {line['actor']}" for line in trail.of({}) if line["kind"] not in ("login", "account")
    ]


def test_what_people_say_of_an_incident_is_in_it() -> None:
    incident = an_incident(status="proving", root_cause="old snapshots")
    services.acknowledge(incident, by="alice")
    services.take_over(incident, by="bob")
    services.give_back(incident, by="bob")
    services.rate(incident, by="alice", rating=Rating.WRONG)
    services.add_note(incident, by="alice", text="a note")
    services.escalate(incident, by="bob")
    services.annotate(incident, by="alice", cause="a disk", verdict=Verdict.RESOLVED_BY_HUMAN)
    assert kinds() == [
        "acknowledged alice",
        "taken_over bob",
        "given_back bob",
        "rated alice",
        "noted alice",
        "escalated bob",
        "annotated alice",
        "status alice",
    ]


def test_what_people_say_of_dead_work_is_in_it() -> None:
    incident = an_incident()
    rows = [
        Notification.objects.create(
            incident=incident, kind="update", dedup_key=f"{number}", channel="json-1", title="t", body="b"
        )
        for number in range(2)
    ]
    assert not services.retry(rows[0], by="alice"), "it is not dead"
    Notification.objects.update(state=State.DEAD, error="refused")
    assert services.retry(rows[0], by="alice")
    assert services.give_up(rows[1], by="bob")
    assert not services.give_up(rows[1], by="carol")
    assert kinds() == ["retried alice", "given_up bob"]
    assert {event.incident for event in Event.objects.all()} == {incident}
    assert set(Notification.objects.values_list("state", flat=True)) == {State.WAITING, State.DONE}


def test_requests_and_tokens_are_in_it() -> None:
    jobs.request("health_check", by="alice")
    token, _ = create_token(name="backup", role=Role.VIEWER, by="alice")
    revoke_token(token, by="bob")
    assert kinds() == ["requested alice", "token alice", "token bob"]


def test_a_login_is_in_it(client: Client) -> None:
    get_user_model().objects.create_user("robin", password="only for tests", is_staff=True)
    client.post("/login", {"username": "robin", "password": "wrong"})
    assert not Event.objects.filter(kind=Event.Kind.LOGIN).exists()
    client.post("/login", {"username": "robin", "password": "only for tests"})
    event = Event.objects.get(kind=Event.Kind.LOGIN)
    assert (event.actor, event.text, event.data) == (
        "robin",
        "logged in from 127.0.0.1",
        {"role": "operator"},
    )
    assert Event.objects.filter(kind=Event.Kind.ACCOUNT).count() == 1, "a login changes no account"


def test_a_renewed_hash_is_no_other_password(client: Client, settings: Any) -> None:
    settings.PASSWORD_HASHERS = [
        *settings.PASSWORD_HASHERS,
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    ]
    robin = get_user_model().objects.create_user("robin", password="only for tests")
    old = make_password("only for tests", hasher="pbkdf2_sha256")
    get_user_model().objects.update(password=old)
    client.post("/login", {"username": "robin", "password": "only for tests"})
    robin.refresh_from_db()
    assert robin.password != old
    assert Event.objects.filter(kind=Event.Kind.ACCOUNT).count() == 1, "it was made, and is the same since"
    robin.set_password("another for tests")
    robin.save(update_fields=["password"])
    robin.set_unusable_password()
    robin.save(update_fields=["password"])
    said = Event.objects.filter(kind=Event.Kind.ACCOUNT).values_list("text", flat=True)
    assert list(said)[1:] == ["changed robin: another password"] * 2


def test_accounts_that_are_made_changed_and_deleted_are_in_it() -> None:
    robin = get_user_model().objects.create_user("robin", password="only for tests")
    robin.is_staff = True
    robin.save()
    robin.set_password("another for tests")
    robin.save()
    robin.email = "robin@lan"
    robin.save()
    robin.delete()
    said = Event.objects.filter(kind=Event.Kind.ACCOUNT).values_list("actor", "text")
    assert list(said) == [
        ("command line", "made robin (viewer)"),
        ("command line", "changed robin: is_staff False → True"),
        ("command line", "changed robin: another password"),
        ("command line", "deleted robin"),
    ]


def test_who_changes_an_account_in_the_admin_is_named(person: Callable[..., Client]) -> None:
    boss = person(superuser=True, name="boss")
    robin = get_user_model().objects.create_user("robin", password="only for tests")
    form = {"password1": "quite another one", "password2": "quite another one", "usable_password": "true"}
    assert boss.post(f"/admin/auth/user/{robin.pk}/password/", form).status_code == 302
    event = Event.objects.filter(kind=Event.Kind.ACCOUNT).last()
    assert event is not None
    assert (event.actor, event.text) == ("boss", "changed robin: another password")
    assert "pbkdf2" not in json.dumps(list(Event.objects.values_list("text", "data")))


def test_every_kind_is_either_a_decision_or_happens() -> None:
    assert {*trail.DECISIONS, *trail.HAPPENS} == set(Event.Kind.values)
    assert Incident.objects.count() == 0
