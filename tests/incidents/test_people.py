"""What a person says of an incident: how it stands in one phrase, a rating, a note, a call for help."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from incidents import notifications, quiet, services
from incidents.memory import compose
from incidents.models import RESOLUTION_STATUS, Event, Incident, MemoryEntry, Notification, Rating, Verdict
from incidents.queue import State
from incidents.wording import RESOLUTION, standing
from tests.incidents.chat import Chat, chats
from tests.incidents.clock import Clock, clock
from tests.incidents.rows import a_target, an_incident

__all__ = ["chats", "clock"]
pytestmark = pytest.mark.django_db
Kind = Notification.Kind


def titles(chats: list[Chat]) -> list[list[str]]:
    return [[message["title"] for message in chat.messages] for chat in chats]


# --- how it stands ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "phrase"),
    [
        ({"status": "new"}, "Looking into it"),
        ({"status": "investigating"}, "Looking into it"),
        ({"status": "awaiting_approval"}, "Needs your yes"),
        ({"status": "acting"}, "Changing something"),
        ({"status": "proving"}, "Watching for proof"),
        ({"status": "proving", "taken_over_at": timezone.now(), "taken_over_by": "robin"}, "robin has it"),
        ({"verdict": Verdict.VERIFIED}, "Fixed, proven"),
        ({"verdict": Verdict.CLEARED_BEFORE_ACTION}, "Over by itself"),
        ({"verdict": Verdict.RESOLVED_BY_HUMAN}, "Resolved by a person"),
        ({"verdict": Verdict.NOT_FIXED}, "Needs you: not fixed"),
        ({"verdict": Verdict.RELAPSED}, "Needs you: came back"),
        ({"verdict": Verdict.UNKNOWN}, "Ended, not proven"),
        ({"verdict": Verdict.UNKNOWN, "remediation_taken": "restart"}, "Tried, not proven"),
        ({"verdict": Verdict.FALSE_ALARM}, "False alarm"),
    ],
)
def test_how_it_stands_is_one_phrase(fields: dict[str, Any], phrase: str) -> None:
    assert standing(an_incident(**fields)) == phrase


def test_who_has_it_reads_that_of_himself() -> None:
    assert (
        standing(Incident(taken_over_at=timezone.now(), taken_over_by="robin"), reader="robin")
        == "You have it"
    )


def test_every_resolution_status_has_words() -> None:
    assert set(RESOLUTION) == set(RESOLUTION_STATUS.values())


# --- rating ----------------------------------------------------------------------------------------


@pytest.fixture
def ended() -> Incident:
    incident = an_incident(
        Verdict.UNKNOWN, root_cause="old snapshots", certainty="CONFIRMED", target=a_target()
    )
    services.remember_again(incident.pk)
    return incident


@pytest.mark.parametrize("rating", [Rating.WRONG, Rating.PARTLY])
def test_a_cause_that_a_person_calls_not_right_is_offered_to_nobody(ended: Incident, rating: Rating) -> None:
    assert services.rate(ended, by="robin", rating=rating)
    entry = MemoryEntry.objects.get(incident=ended)
    assert (entry.payload["root_cause"], entry.payload["cause_by"]) == (None, None)
    assert (entry.payload["crew_cause"], entry.payload["rating"]) == ("old snapshots", rating)
    assert not any(line.startswith("cause") for line in entry.text.splitlines())
    assert f"the crew had said, and a person calls it {rating.label}: old snapshots" in entry.text
    event = ended.events.get(kind=Event.Kind.RATED)
    assert (event.actor, event.data) == ("robin", {"rating": rating, "cause": "old snapshots"})


def test_a_cause_that_a_person_calls_right_counts_as_a_persons(ended: Incident) -> None:
    services.rate(ended, by="robin", rating=Rating.RIGHT)
    text, payload = compose(ended)
    assert (payload["root_cause"], payload["cause_by"]) == ("old snapshots", "person")
    assert payload["human_confirmed"]
    assert "cause, a person says: old snapshots" in text.splitlines()


def test_a_persons_own_cause_stays_the_cause_whatever_the_rating(ended: Incident) -> None:
    services.rate(ended, by="robin", rating=Rating.WRONG)
    services.annotate(ended, by="robin", cause="the backup")
    payload = MemoryEntry.objects.get(incident=ended).payload
    assert (payload["root_cause"], payload["crew_cause"]) == ("the backup", "old snapshots")


def test_the_last_rating_counts_and_each_is_kept_once(ended: Incident) -> None:
    for rating in (Rating.RIGHT, Rating.WRONG, Rating.WRONG):
        assert services.rate(ended, by="robin", rating=rating)
    assert (ended.rating, ended.rated_by) == ("wrong", "robin")
    assert ended.events.filter(kind=Event.Kind.RATED).count() == 2


def test_only_the_cause_that_was_read_is_rated(ended: Incident) -> None:
    Incident.objects.update(root_cause="the backup")  # another look found another one meanwhile
    assert not services.rate(ended, by="robin", rating=Rating.WRONG)
    assert not services.rate(an_incident(), by="robin", rating=Rating.WRONG), "there is no cause"
    assert not Event.objects.filter(kind=Event.Kind.RATED).exists()


def test_what_a_person_says_while_the_proof_looks_is_remembered_with_the_end() -> None:
    seen = an_incident(status="proving", root_cause="old snapshots", target=a_target())
    services.rate(Incident.objects.get(), by="robin", rating=Rating.WRONG)
    services.close(seen, Verdict.CLEARED_BEFORE_ACTION, actor="proof", note="clear")
    assert MemoryEntry.objects.get(incident=seen).payload["root_cause"] is None


# --- notes -----------------------------------------------------------------------------------------


def test_notes_are_lines_of_the_timeline_and_any_number() -> None:
    incident = an_incident(Verdict.UNKNOWN)
    for text in ("the fan was loud", "  replaced it; password=hunter2hunter2  "):
        services.add_note(incident, by="robin", text=text)
    told = list(incident.events.filter(kind=Event.Kind.NOTED).values_list("actor", "text"))
    assert told[0] == ("robin", "the fan was loud")
    assert told[1][1].startswith("replaced it;")
    assert "hunter2" not in told[1][1]
    incident.refresh_from_db()
    assert incident.human_note == ""


def test_an_empty_note_is_none() -> None:
    with pytest.raises(ValueError, match="wants words"):
        services.add_note(an_incident(), by="robin", text=" \n")


# --- escalate --------------------------------------------------------------------------------------


def test_a_call_tells_every_further_level_at_once(chats: list[Chat], clock: Clock) -> None:
    incident = an_incident(severity="warning", target=a_target(), started_at=clock.moment)
    assert services.escalate(incident, by="robin", why="the pool is degraded")
    clock.work()
    assert titles(chats) == [["WARN jellyfin@docker2 ServiceDown 0s · robin calls for help"]] * 3
    body = chats[1].messages[0]["message"]
    assert body.startswith("robin calls for help: the pool is degraded\nIt stands: Looking into it.")
    event = incident.events.get(kind=Event.Kind.ESCALATED)
    assert event.text == "calls json-escalation-1, json-escalation-2, json-1: the pool is degraded"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "Cause (CONFIRMED): old snapshots"),
        ({"rating": Rating.RIGHT}, "Cause (CONFIRMED): old snapshots"),
        ({"rating": Rating.WRONG}, None),
        ({"rating": Rating.PARTLY, "human_cause": "the backup"}, "Cause (a person says): the backup"),
        ({"human_cause": "the backup"}, "Cause (a person says): the backup"),
    ],
)
def test_a_call_tells_no_cause_that_a_person_calls_wrong(
    chats: list[Chat], clock: Clock, said: dict[str, Any], told: str | None
) -> None:
    incident = an_incident(root_cause="old snapshots", certainty="CONFIRMED", started_at=clock.moment, **said)
    services.escalate(incident, by="robin")
    clock.work()
    body = chats[1].messages[0]["message"]
    assert [line for line in body.splitlines() if line.startswith("Cause")] == ([told] if told else [])


def test_with_one_level_that_one_is_called(settings, chats: list[Chat], clock: Clock) -> None:
    settings.ESCALATION_URLS = []
    services.escalate(an_incident(), by="robin")
    clock.work()
    assert [len(each) for each in titles(chats)] == [1, 0, 0]


def test_who_answered_may_call_and_quiet_hours_do_not_hold_it(
    settings, chats: list[Chat], clock: Clock
) -> None:
    settings.QUIET_HOURS = quiet.parse("11:00-13:00")
    incident = an_incident(severity="warning")
    services.take_over(incident, by="robin")
    services.escalate(incident, by="robin")
    clock.work()
    assert [len(each) for each in titles(chats)] == [1, 1, 1]
    assert "It stands: robin has it." in chats[2].messages[0]["message"]


def test_after_a_call_nobody_is_told_that_nobody_answered(chats: list[Chat], clock: Clock) -> None:
    incident = an_incident(target=a_target(), started_at=timezone.now())
    notifications.tell_opened(incident)
    clock.pass_minutes(1)
    services.escalate(incident, by="robin")
    clock.pass_minutes(100)
    assert [len(each) for each in titles(chats)] == [2, 1, 1]
    left = Notification.objects.filter(kind=Kind.ESCALATION)
    assert {(row.state, row.error) for row in left} == {(State.DONE, "a person called everybody")}


def test_a_double_click_calls_once_and_a_later_call_calls_again(chats: list[Chat], clock: Clock) -> None:
    incident = an_incident()
    assert services.escalate(incident, by="robin")
    assert not services.escalate(incident, by="robin"), "it is on its way"
    clock.work()
    clock.moment += timedelta(minutes=20)
    assert services.escalate(incident, by="robin")
    clock.work()
    assert [len(each) for each in titles(chats)] == [2, 2, 2]


def test_a_channel_that_is_away_does_not_stop_another_call(chats: list[Chat], clock: Clock) -> None:
    incident = an_incident()
    chats[1].status = 503
    services.escalate(incident, by="robin")
    clock.work()
    assert services.escalate(incident, by="robin")


def test_nobody_is_called_to_what_is_over() -> None:
    incident = an_incident(Verdict.UNKNOWN)
    assert not services.escalate(incident, by="robin")
    assert not incident.events.exists()


def test_a_call_that_reaches_nobody_says_so() -> None:
    incident = an_incident()
    assert services.escalate(incident, by="robin")
    event = incident.events.get(kind=Event.Kind.ESCALATED)
    assert (event.text, event.data) == ("there is nobody to call: NOTIFY_URLS is not set", {"channels": []})
