"""The summary in a model's words: asked for by a person, paid for as any call, shown while it holds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import override_settings

from agents import postmortem
from agents.advance import advance
from agents.models import ModelCall, Step
from agents.postmortem.asking import ask
from agents.postmortem.check import untrue
from incidents import services
from incidents.models import Event, Incident, Verdict
from incidents.queue import State
from tests.agents.conftest import Start
from tests.agents.rows import a_run
from tests.agents.test_postmortem import ended
from tests.e2e import openai_server as oai
from tests.incidents.rows import an_incident

__all__ = ["ended"]
pytestmark = pytest.mark.django_db
GOOD = (
    "Jellyfin was down for 137 s because it ran out of memory. Alice approved a restart, and the alert's own "
    'signal stayed clear for 60 s over 9 looks: it is fixed. One claim was "the kernel killed it".'
)


def says(summary: str, verdict: str = "verified") -> Any:
    answer = {"summary": summary, "verdict": verdict}
    return lambda request: oai.call_tools(oai.tool_call("submit_summary", answer))


def written(incident: Incident) -> Step:
    step = ask(incident, by="alice")
    assert step is not None
    with override_settings(OPENAI_TIMEOUT_SECONDS=30):  # however busy the machine is
        advance(step.pk)
    step.refresh_from_db()
    assert step.state == State.DONE
    return step


def test_the_model_writes_it_when_a_person_asks(ended: Incident, model: Start, settings: Any) -> None:
    settings.LLM_PRICES = {"gpt-4o-mini": (Decimal(2), Decimal(10), Decimal(2))}
    server = model(says(GOOD))
    assert postmortem.of(ended).summary.by == "playbooks", "nobody asked, so nobody paid"
    assert server.requests == []
    step = written(ended)
    summary = postmortem.of(ended).summary
    assert (summary.text, summary.by) == (GOOD, "model")
    assert (step.run.incident_id, step.rung, step.asked_by) == (ended.pk, "model", "alice")
    call = ModelCall.objects.get(step=step)
    assert call.cost_usd is not None
    assert call.cost_usd > 0
    assert postmortem.of(ended).cost["total"]["calls"] == 2
    assert ended.events.get(kind=Event.Kind.REQUESTED).actor == "alice"


def test_what_the_model_is_given_is_what_every_reader_sees(ended: Incident, model: Start) -> None:
    server = model(says(GOOD))
    written(ended)
    [request] = server.requests
    asked = request.body.decode()
    assert "the kernel killed it" in asked
    for outputs in ("Killed process 7", "secret-looking"):
        assert outputs not in asked
    assert "Done: restart" not in asked, "the template's words would be its own"
    assert len(asked) < 12_000


def test_without_a_model_it_is_the_template_and_says_why(ended: Incident) -> None:
    written(ended)
    summary = postmortem.of(ended).summary
    assert (summary.by, summary.why) == ("playbooks", "no model is configured")
    assert summary.text.startswith("ServiceDown (critical)")


def test_a_model_that_is_away_leaves_the_template(ended: Incident, model: Start) -> None:
    model(lambda request: oai.error(500, "The server had an error"))
    written(ended)
    summary = postmortem.of(ended).summary
    assert summary.by == "playbooks"
    assert "answered 500" in summary.why


@pytest.mark.parametrize(
    ("summary", "verdict", "why"),
    [
        ("It was down for 999 s.", "verified", "the number 999 is in no record"),
        ("It was down for 2m on docker3.", "verified", "the number 3 is in no record"),
        ("The seven disks were full.", "verified", "the number 'seven' is in no record"),
        ('The log said "no space left".', "verified", "the quote 'no space left' is in no record"),
        ("All is well.", "unknown", "they call it unknown, and it is verified"),
    ],
)
def test_words_that_no_record_holds_are_dropped_and_that_is_said(
    ended: Incident, model: Start, summary: str, verdict: str, why: str
) -> None:
    model(says(summary, verdict))
    written(ended)
    shown = postmortem.of(ended).summary
    assert (shown.by, shown.why) == ("playbooks", f"the words of the model were dropped: {why}")
    assert summary not in shown.text


@pytest.mark.parametrize(
    ("verdict", "text", "holds"),
    [
        (Verdict.VERIFIED, "The restart fixed it, and that is proven.", True),
        (Verdict.UNKNOWN, "The restart fixed it.", False),
        (Verdict.UNKNOWN, "Nobody knows whether the restart fixed it.", True),
        (Verdict.UNKNOWN, "It could not be verified that the service recovered.", True),
        (Verdict.UNKNOWN, "The unit recovered.", False),
        (Verdict.NOT_FIXED, "The restart did not help: it is not fixed.", True),
        (Verdict.NOT_FIXED, "It is back to normal.", False),
        (Verdict.CLEARED_BEFORE_ACTION, "It recovered by itself.", True),
        (Verdict.CLEARED_BEFORE_ACTION, "The crew fixed it.", False),
        (Verdict.RESOLVED_BY_HUMAN, "A person resolved it.", True),
        (Verdict.RESOLVED_BY_HUMAN, "The end is verified.", False),
        (None, "It has not recovered yet.", True),
        (None, "It was resolved.", False),
    ],
)
def test_no_more_is_said_of_the_end_than_is_known(
    ended: Incident, verdict: Verdict | None, text: str, holds: bool
) -> None:
    ended.verdict = verdict
    known = {"verdict": verdict or "open"}
    wrong = untrue({"summary": text, "verdict": known["verdict"]}, ended, known)
    assert (wrong is None) == holds, wrong


def test_no_more_is_said_of_the_cause_than_is_known(ended: Incident) -> None:
    answer = {"summary": "The cause is confirmed: out of memory.", "verdict": "verified"}
    assert untrue(answer, ended, {"verdict": "verified"}) is None
    ended.certainty = "LIKELY"
    assert untrue(answer, ended, {"verdict": "verified"}) == "they say 'confirmed', and the cause is likely"


def test_words_that_held_once_are_dropped_when_the_end_is_another(ended: Incident, model: Start) -> None:
    model(says(GOOD))
    written(ended)
    services.annotate(ended, by="bob", verdict=Verdict.RESOLVED_BY_HUMAN)
    shown = postmortem.of(Incident.objects.get(pk=ended.pk)).summary
    assert shown.by == "playbooks"
    assert "they call it verified, and it is resolved_by_human" in shown.why


def test_asked_twice_at_once_it_is_written_once_and_asked_later_again(ended: Incident, model: Start) -> None:
    server = model(says(GOOD))
    assert ask(ended, by="alice") == ask(ended, by="bob")
    written(ended)
    assert len(server.requests) == 1
    written(ended)
    assert len(server.requests) == 2


def test_an_open_incident_is_told_of_and_goes_on(model: Start) -> None:
    incident = an_incident(status="proving")
    a_run(incident)
    model(says("It is not over yet.", "open"))
    written(incident)
    assert postmortem.of(incident).summary.text == "It is not over yet."
    incident.refresh_from_db()
    assert incident.status == "proving"


def test_before_the_crew_began_there_is_nothing_to_tell(ended: Incident, operator: Any) -> None:
    ended.runs.all().delete()
    assert ask(ended, by="alice") is None
    assert operator.post(f"/api/v1/incidents/{ended.pk}/postmortem").status_code == 409


def test_operators_ask_and_viewers_may_not(ended: Incident, person: Any, viewer: Any, operator: Any) -> None:
    path = f"/incidents/{ended.pk}/postmortem/summary"
    assert person(name="vera").post(path).status_code == 403
    assert viewer.post(f"/api/v1/incidents/{ended.pk}/postmortem").status_code == 403
    assert not Step.objects.filter(agent="postmortem").exists()
    assert person(staff=True).post(path).status_code == 302
    answer = operator.post(f"/api/v1/incidents/{ended.pk}/postmortem")
    assert (answer.status_code, answer.json()) == (202, {"step": Step.objects.get(agent="postmortem").pk})
