"""An incident's page: what it says first, what a person does there, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents import questions
from agents.models import Action, Chart, CrewRun, ModelCall, Step, ToolCall
from incidents import events, services
from incidents.models import Event, Incident, Notification, Verdict
from tests.agents.fake_prometheus import FakePrometheus, serving
from tests.agents.rows import a_run, an_action
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.django_db
Person = Callable[..., Client]
LINK = "http://prom/graph?g0.expr=up+%3D%3D+0"
SIGNAL = {
    "expression": "up == 0",
    "measured": "up",
    "threshold": 0.0,
    "side": 0,
    "start": 1_795_406_400.0,
    "end": 1_795_406_700.0,
    "step": 60.0,
    "series": [["up", [1.0, None, 0.0, 1.0]]],
    "more": 0,
}


def text(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return " ".join(answer.content.decode().split())


def page(client: Client, incident: Incident, part: str = "") -> str:
    return text(client.get(f"/incidents/{incident.pk}{part}"))


# --- what it says first --------------------------------------------------------------------------


def test_a_question_stands_on_top_with_what_it_would_touch(person: Person) -> None:
    action = an_action(touches="restarts docker:docker2/jellyfin, which 3 others use")
    shown = page(person(staff=True), action.incident)
    top = shown[: shown.index('id="story"')]
    assert "Needs your yes" in top
    assert "waits for your yes or no" in top
    assert "It restarts docker:docker2/jellyfin, which 3 others use." in top
    assert "REMEDIATION_MODE is approve" in top
    assert f"/actions/{action.pk}/approve" in top


@pytest.mark.parametrize("because", ["the mode is approve", "nothing is done without a yes"])
def test_it_says_why_it_asks_and_no_other_reason(person: Person, because: str) -> None:
    reasons = [{"effect": "ask", "text": "the mode is approve"}, {"effect": "allow", "text": "it is small"}]
    asks = [each for each in reasons if each["effect"] == "allow" or each["text"] == because]
    action = an_action(decision=asks)
    assert f"Asks because {because}." in page(person(), action.incident)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": "new"}, "the crew is at work"),
        ({"status": "proving"}, "waits for proof"),
        ({"taken_over_at": timezone.now(), "taken_over_by": "kim"}, "waits for kim"),
        ({"verdict": Verdict.VERIFIED}, "it is over"),
        ({"verdict": Verdict.NOT_FIXED}, "waits for a person&#x27;s look"),
        ({"verdict": Verdict.UNKNOWN}, "waits for a person&#x27;s look"),
    ],
)
def test_what_it_waits_for_is_always_said(person: Person, fields: dict[str, Any], said: str) -> None:
    assert f"<span>{said}</span>" in page(person(), an_incident(**fields))


def test_what_the_crew_has_nothing_left_to_do_about_waits_for_a_person(person: Person) -> None:
    incident = an_incident(status="proving")
    an_episode(incident)
    shown = page(person(), incident)
    assert '<p class="standing urgent"><strong id="standing">Needs you</strong>' in shown
    assert "<span>waits for a person&#x27;s look</span>" in shown
    assert "waits for proof" not in shown


def test_words_for_people(person: Person) -> None:
    client = person()
    tried = an_incident(Verdict.UNKNOWN, remediation_taken="restart container")
    assert "Tried, not proven" in page(client, tried)
    assert "Needs you: not fixed" in page(client, an_incident(Verdict.NOT_FIXED))


def test_the_cause_in_one_sentence_with_whose_word_it_is(person: Person) -> None:
    client, action = person(staff=True), an_action()
    fields = {"root_cause": "out of memory\nand more", "certainty": "CONFIRMED", "rung": "playbooks"}
    Incident.objects.filter(pk=action.incident_id).update(**fields)
    top = page(client, action.incident).split('id="signal"')[0]
    assert "out of memory <span" in top
    assert "confirmed" in top
    assert "says the crew (playbooks)" in top
    services.annotate(action.incident, by="kim", cause="the cat")
    assert "the cat <span" in page(client, action.incident)
    assert "says kim" in page(client, action.incident)


def test_what_a_person_said_of_a_past_one_stands_on_top(person: Person) -> None:
    action, past = an_action(), an_incident(Verdict.VERIFIED)
    crews = {"incident": past.pk, "alert_name": "Other", "root_cause": "a leak", "verdict": "verified"}
    persons = {**crews, "root_cause": "the <cat>", "cause_by": "person", "note": "close the door"}
    ToolCall.objects.update(tool="recall_incidents", data={"incidents": [crews, persons]})
    top = page(person(), action.incident).split('id="signal"')[0]
    assert f'Like <a href="#similar">#{past.pk}</a> (verified): a person says: the &lt;cat&gt;' in top
    assert "close the door" in top


def test_a_question_that_expired_is_no_more_asked(person: Person) -> None:
    action = an_action(expires_at=timezone.now() - timedelta(seconds=1))
    assert f"/actions/{action.pk}/approve" not in page(person(staff=True), action.incident)


# --- the story and what was found ----------------------------------------------------------------


def test_the_story_has_chapters_with_durations(person: Person) -> None:
    incident = an_incident(Verdict.VERIFIED)
    at = incident.started_at
    for seconds, kind, actor, said in (
        (0, Event.Kind.OPENED, "alertmanager", "up was 0"),
        (60, Event.Kind.AGENT, "analyst", "CONFIRMED: out of memory"),
        (240, Event.Kind.EXECUTED, "executor", "restart: done"),
    ):
        moment = at + timedelta(seconds=seconds)
        Event.objects.create(incident=incident, kind=kind, actor=actor, text=said, at=moment)
    Notification.objects.create(
        incident=incident, kind="update", title="CRIT fixed", channel="ntfy-1", dedup_key="x",
        body="", state="done", sent_at=at + timedelta(seconds=300),
    )  # fmt: skip
    shown = page(person(), incident)
    for title, lasted in (("Diagnosis", "took 1m"), ("Change", "took 3m"), ("Told", "1m later")):
        assert f'<b>{title}</b> <span class="lasted">{lasted}</span>' in shown
    assert "CRIT fixed" in shown
    assert f"/incidents/{incident.pk}/record" in shown


def test_a_story_without_its_beginning_says_so(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.incident_page.EVENTS_SHOWN", 2)
    client, incident = person(), an_incident()
    for note in ("first note", "second note"):
        services.add_note(incident, by="kim", text=note)
    assert "there were more before" not in page(client, incident)
    services.add_note(incident, by="kim", text="third")
    shown = page(client, incident)
    assert "The story of the last 2 events; there were more before." in shown
    assert "first note" not in shown


def test_a_quote_is_marked_in_the_reading_with_the_lines_around_it(person: Person) -> None:
    action = an_action()
    lines = [f"line {number}" for number in range(20)]
    lines[10] = "kernel: Killed process 7 (jellyfin)"
    ToolCall.objects.update(output="\n".join(lines))
    shown = person(staff=True).get(f"/incidents/{action.incident_id}").content.decode()
    assert "line 9\nkernel: <mark>Killed process 7</mark> (jellyfin)\nline 11" in shown
    assert "what comes before" in shown
    assert "line 19" in shown


def test_quotes_of_what_tools_gave_out_are_for_operators(person: Person) -> None:
    """Also where the reading they were taken from is not there to be shown with them."""
    action, viewer, operator = an_action(), person(name="sam"), person(staff=True)
    quotes = ("Killed process 7", "no space left")
    claims = ("the kernel killed it", "the disk is full")
    for shown in (True, False):
        seen = page(viewer, action.incident)
        assert [quote for quote in quotes if quote in seen] == []
        assert [claim for claim in claims if claim in seen] == list(claims)
        assert all(quote in page(operator, action.incident) for quote in quotes[not shown :])
        ToolCall.objects.all().delete()


def test_a_struck_claim_is_shown_struck_with_the_reason(person: Person) -> None:
    action = an_action()
    shown = page(person(staff=True), action.incident)
    assert "<s>the disk is full</s> <span" in shown
    assert "struck: the quote is not in t1" in shown
    assert "<mark>no space left" not in shown
    assert "Weighed and dropped" in shown
    ToolCall.objects.all().delete()
    assert "struck: no reading is called t1" in page(person(staff=True, name="sam"), action.incident)


def test_what_was_kept_before_a_change_is_for_operators(person: Person) -> None:
    action = an_action(status=Action.Status.DONE)
    ToolCall.objects.create(
        step=action.step, call_id="e", tool="evidence", arguments={"target": "docker:docker2/jellyfin"},
        output="last words",
    )  # fmt: skip
    assert "last words" in page(person(staff=True), action.incident)
    assert "last words" not in page(person(name="sam"), action.incident)


def test_cost_is_told_by_agent_rung_and_model(person: Person) -> None:
    action = an_action()
    ModelCall.objects.update(cost_usd="0.0123", output_tokens=100)
    shown = page(person(), action.incident)
    assert "<b>Analyst</b> by model, gpt-4o-mini" in shown
    assert "$0.0123" in shown
    assert "No model was asked" in page(person(name="sam"), an_incident())


def test_links_lead_to_trace_and_logs(person: Person, settings: Any) -> None:
    settings.LOG_URL_TEMPLATE = "https://grafana.lan/x?i={incident_id}&from={from}&to={to}"
    settings.TRACE_URL_TEMPLATE = "https://tempo.lan/{trace_id}"
    incident = an_incident(Verdict.VERIFIED, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    shown = page(person(), incident)
    begin = int(incident.started_at.timestamp() * 1000) - 15 * 60 * 1000
    assert f"https://grafana.lan/x?i={incident.pk}&amp;from={begin}&amp;to=" in shown
    assert f"https://tempo.lan/{'a' * 32}" in shown


# --- the plot ------------------------------------------------------------------------------------


def test_the_page_asks_for_the_plot_apart(person: Person, settings: Any) -> None:
    client, incident = person(), an_incident()
    assert "PROMETHEUS_URL is not set" in page(client, incident)
    assert "/chart" not in page(client, incident)
    settings.PROMETHEUS_URL = "http://127.0.0.1:1"
    assert f'data-from="/incidents/{incident.pk}/chart"' in page(client, incident)


def test_a_plot_of_what_was_kept_needs_no_prometheus(person: Person) -> None:
    incident = an_incident(Verdict.VERIFIED)
    Chart.objects.create(incident=incident, state="done", points=SIGNAL)
    client = person()
    assert "/chart" in page(client, incident)
    shown = page(client, incident, "/chart?width=400")
    assert '<svg class="plot" viewBox="0 0 400 200" role="img"' in shown
    assert "<desc" in shown


@pytest.mark.parametrize(
    ("asked", "width"), [("", 1000), ("9", 280), ("99999", 1000), ("-1", 1000), ("x", 1000)]
)
def test_a_plot_has_a_width_that_a_page_can_bear(person: Person, asked: str, width: int) -> None:
    incident = an_incident(Verdict.VERIFIED)
    Chart.objects.create(incident=incident, state="done", points=SIGNAL)
    assert f'viewBox="0 0 {width} ' in page(person(), incident, f"/chart?width={asked}")


@pytest.fixture
def prometheus(settings: Any) -> Iterator[FakePrometheus]:
    with serving(FakePrometheus(paths={"rules": {"groups": []}})) as fake:
        settings.PROMETHEUS_URL = fake.url
        yield fake


def test_why_there_is_no_plot_is_said(person: Person, prometheus: FakePrometheus) -> None:
    incident = an_incident()
    an_episode(incident, generator_url=LINK)
    shown = page(person(), incident, "/chart")
    assert "No plot: Prometheus has no samples of this alert&#x27;s own series from then" in shown
    assert "<svg" not in shown


def test_the_plot_of_a_running_incident_is_read_now(person: Person, prometheus: FakePrometheus) -> None:
    incident = an_incident(started_at=timezone.now())
    an_episode(incident, generator_url=LINK)
    now = timezone.now().timestamp()
    prometheus.ranges = {"up{}": [({"instance": "nas:9100"}, [(now - 100, "1"), (now - 50, "0")])]}
    shown = page(person(), incident, "/chart")
    assert "the alert began" in shown
    assert "<code>up == 0</code>" in shown


# --- what a person does --------------------------------------------------------------------------


def said(client: Client, incident: Incident, what: str, **data: str) -> str:
    answer = client.post(f"/incidents/{incident.pk}/{what}", data)
    assert answer["Location"] == f"/incidents/{incident.pk}"
    return [str(message) for message in get_messages(answer.wsgi_request)][-1]


def test_a_person_rates_the_crews_cause(person: Person) -> None:
    client, incident = person(staff=True), an_incident(root_cause="out of memory")
    assert said(client, incident, "rate", rating="wrong").startswith("Rated")
    incident.refresh_from_db()
    assert (incident.rating, incident.rated_by) == ("wrong", "robin")
    assert "robin says that is wrong" in page(client, incident)
    assert said(client, incident, "rate", rating="perhaps").startswith("Not rated")
    assert said(client, an_incident(), "rate", rating="right").startswith("Not rated")


def test_a_person_adds_a_line_to_the_story(person: Person) -> None:
    client, incident = person(staff=True), an_incident(Verdict.UNKNOWN)
    assert said(client, incident, "note", text="moved the <rack>").startswith("Added")
    assert "moved the &lt;rack&gt;" in page(client, incident)
    assert said(client, incident, "note", text=" ").startswith("Not added")
    assert incident.events.filter(kind=Event.Kind.NOTED).count() == 1


def test_a_person_calls_the_others(person: Person, settings: Any) -> None:
    settings.NOTIFY_URLS = ["json://localhost/"]
    client, incident = person(staff=True), an_incident()
    assert said(client, incident, "escalate", why="I am away").startswith("The others are called")
    assert Notification.objects.filter(incident=incident, kind="call").exists()
    assert said(client, an_incident(Verdict.UNKNOWN), "escalate").startswith("Nobody was called")


def test_a_person_wants_another_look(person: Person) -> None:
    client, incident = person(staff=True), an_incident(Verdict.UNKNOWN)
    an_episode(incident)
    assert said(client, incident, "investigate") == "The crew begins anew: run 1."
    assert CrewRun.objects.get().incident == incident
    assert said(client, incident, "investigate").startswith("Nothing was changed: ")


def test_who_writes_a_note_leaves_a_cause_that_another_wrote_meanwhile(person: Person) -> None:
    client, incident = person(staff=True), an_incident()
    shown = {"initial-cause": "", "cause": "", "initial-note": "", "note": ""}  # as the page showed it
    services.annotate(incident, by="kim", cause="the cat")
    assert said(client, incident, "annotate", **{**shown, "note": "close the door"}) == "Noted."
    incident.refresh_from_db()
    assert (incident.human_cause, incident.human_note) == ("the cat", "close the door")
    assert 'name="initial-cause" value="the cat"' in page(client, incident)
    shown = {
        "initial-cause": "the cat",
        "cause": "",
        "initial-note": "close the door",
        "note": "close the door",
    }
    assert said(client, incident, "annotate", **shown) == "Noted."
    incident.refresh_from_db()
    assert (incident.human_cause, incident.human_note) == ("", "close the door")


def test_who_says_nothing_new_is_nobody_who_said_it(person: Person) -> None:
    client, incident = person(staff=True), an_incident()
    services.annotate(incident, by="kim", cause="the cat")
    shown = {"initial-cause": "the cat", "cause": "the cat", "initial-note": "", "note": "", "verdict": ""}
    assert said(client, incident, "annotate", **shown).startswith("Nothing was changed")
    incident.refresh_from_db()
    assert incident.annotated_by == "kim"


def test_a_person_says_how_it_ended(person: Person) -> None:
    client, incident = person(staff=True), an_incident()
    assert said(client, incident, "annotate", verdict="false_alarm") == "Noted."
    incident.refresh_from_db()
    assert incident.verdict == "false_alarm"


DEEDS = ("acknowledge", "take-over", "give-back", "annotate", "rate", "note", "escalate", "investigate")


@pytest.mark.parametrize("deed", DEEDS)
def test_who_may_only_look_does_nothing(person: Person, deed: str) -> None:
    incident = an_incident(root_cause="x")
    data = {"rating": "right", "text": "x", "cause": "x"}
    assert person().post(f"/incidents/{incident.pk}/{deed}", data).status_code == 403
    assert not incident.events.exists()


@pytest.mark.parametrize("deed", DEEDS)
def test_a_link_does_nothing_and_a_form_of_another_site_neither(person: Person, deed: str) -> None:
    incident = an_incident(root_cause="x")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = person(staff=True).cookies
    assert strict.get(f"/incidents/{incident.pk}/{deed}").status_code == 405
    assert strict.post(f"/incidents/{incident.pk}/{deed}", {"text": "x"}).status_code == 403
    assert not incident.events.exists()


def test_who_may_only_look_is_offered_nothing(person: Person) -> None:
    action = an_action()
    Incident.objects.filter(pk=action.incident_id).update(root_cause="x")
    shown = page(person(), action.incident)
    main = shown[shown.index("<main") :]
    assert "<form" not in main
    assert "an operator decides" in main


# --- what it costs -------------------------------------------------------------------------------


def queries(client: Client, path: str, **headers: str) -> tuple[int, Any]:
    with CaptureQueriesContext(connection) as seen:
        answer = client.get(path, headers=headers)
    return len(seen), answer


def test_a_page_that_did_not_change_costs_one_small_question(person: Person) -> None:
    client, action = person(staff=True), an_action()
    path = f"/incidents/{action.incident_id}"
    tag = client.get(path)["ETag"]
    nobody, _ = queries(client, "/api/docs")  # who asks: session and user
    number, answer = queries(client, path, **{"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")
    assert number == nobody + 1


def test_a_name_may_have_any_letters(person: Person) -> None:
    client, incident = person(name="Łukasz"), an_incident()
    tag = client.get(f"/incidents/{incident.pk}")["ETag"]
    assert client.get(f"/incidents/{incident.pk}", headers={"If-None-Match": tag}).status_code == 304


def test_a_page_that_changed_is_sent(person: Person) -> None:
    client, action = person(staff=True), an_action()
    path = f"/incidents/{action.incident_id}"
    changes: list[Callable[[], object]] = [
        lambda: services.add_note(action.incident, by="kim", text="moved"),
        lambda: questions.approve(action, by="kim"),
        lambda: ToolCall.objects.create(step=action.step, call_id="t9", tool="x"),
        lambda: ModelCall.objects.update(seconds=None),
        lambda: an_episode(action.incident),
        lambda: Incident.objects.filter(pk=action.incident_id).update(status="proving"),
    ]
    for change in changes:
        tag = client.get(path)["ETag"]
        change()
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_another_reader_or_another_minute_is_another_page(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    action = an_action()
    path = f"/incidents/{action.incident_id}"
    client = person(staff=True)
    tag = client.get(path)["ETag"]
    assert person(name="sam").get(path, headers={"If-None-Match": tag}).status_code == 200
    later = timezone.now() + timedelta(minutes=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_it_costs_the_same_for_any_number(person: Person) -> None:
    """Of steps, calls, alerts, events, messages, actions and past incidents."""
    client, target = person(staff=True), a_target()

    def make(number: int) -> str:
        incident = an_incident(status="awaiting_approval", target=target, alert_name=f"Down{number}")
        run = a_run(incident)
        for place in range(number):
            turn = Step.objects.create(
                run=run, agent=Step.Agent.ANALYST, number=place + 2, state="done", rung="model",
                output=run.steps.get(agent="analyst", number=1).output,
            )  # fmt: skip
            ToolCall.objects.create(step=turn, call_id=f"c{place}", tool="recall_incidents")
            ModelCall.objects.create(step=turn, model="m", endpoint="e", request={}, seconds=1.0)
            other = Step.objects.create(run=run, agent=Step.Agent.EXECUTOR, number=place + 2)
            an_action(incident, target, step=other, status=Action.Status.REJECTED, decided_by="kim")
            an_episode(incident, target=a_target(f"t{number}-{place}"))
            an_incident(Verdict.VERIFIED, target=target, alert_name=incident.alert_name)
            events.record(incident, Event.Kind.AGENT, "analyst", "x")
            Notification.objects.create(
                incident=incident, kind="update", title=f"{place}", channel="x", body="",
                dedup_key=f"{number}-{place}", state="done", sent_at=timezone.now(),
            )  # fmt: skip
        return f"/incidents/{incident.pk}"

    few, _ = queries(client, make(2))
    many, answer = queries(client, make(20))
    assert answer.status_code == 200
    assert many == few
    assert many < 30, many


def test_the_record_costs_the_same_for_any_number(person: Person) -> None:
    client, action = person(staff=True), an_action()
    path = f"/incidents/{action.incident_id}/record"
    few, _ = queries(client, path)
    for number in range(20):
        step = Step.objects.create(run=action.step.run, agent="analyst", number=number + 2, state="done")
        ToolCall.objects.create(step=step, call_id=f"c{number}", tool="x")
        ModelCall.objects.create(step=step, model="m", endpoint="e", request={}, seconds=1.0)
    many, answer = queries(client, path)
    assert (many, answer.status_code) == (few, 200)
