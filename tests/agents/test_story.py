"""Events become a story: chapters in their order, what each came to, and how long it took."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from agents import story
from incidents.models import Event, Notification
from tests.incidents.rows import START

Kind = Event.Kind


def event(seconds: float, kind: Kind, actor: str, text: str = "", **data: Any) -> Event:
    at = START + timedelta(seconds=seconds)
    return Event(
        pk=int(seconds * 10) + 1, at=at, kind=kind, actor=actor, text=text or f"{kind} by {actor}", data=data
    )


def message(seconds: float, title: str, channel: str = "ntfy-1", **fields: Any) -> Notification:
    at: datetime = START + timedelta(seconds=seconds)
    wanted = {"sent_at": at, "created_at": at, "kind": Notification.Kind.UPDATE, "state": "done", **fields}
    return Notification(pk=int(seconds * 10) + 1, title=title, channel=channel, **wanted)


def told(events: list[Event], messages: list[Notification] = []) -> list[tuple[str, str, float]]:  # noqa: B006
    found = story.chapters([*story.of_events(events), *story.of_messages(messages)])
    return [(each.phase, each.summary.text, round(each.seconds, 3)) for each in found]


FIXED = [
    event(0, Kind.OPENED, "alertmanager", "ServiceDown"),
    event(1, Kind.STATUS, "crew", "the crew takes it up", to="investigating"),
    event(2, Kind.AGENT, "monitor", "firing: up is 0"),
    event(4, Kind.AGENT, "analyst", "CONFIRMED: out of memory"),
    event(6, Kind.AGENT, "healer", "it was killed"),
    event(6.1, Kind.PROPOSED, "healer", "restart container"),
    event(6.2, Kind.ASKED, "authorize", "restart container: the mode is approve"),
    event(6.3, Kind.STATUS, "healer", "waits for a yes", to="awaiting_approval"),
    event(66, Kind.APPROVED, "kim", "approved: restart container"),
    event(66.1, Kind.STATUS, "kim", "goes ahead", to="acting"),
    event(67, Kind.EXECUTING, "executor", "begins: restart container"),
    event(70, Kind.EXECUTED, "executor", "restart container: done"),
    event(70.1, Kind.STATUS, "executor", "watching whether it helped", to="proving"),
    event(75, Kind.PROOF, "proof", "cleared: no rows"),
    event(135, Kind.STATUS, "proof", "verified: held for 60 s", to="closed"),
]


def test_an_incident_that_was_fixed() -> None:
    messages = [message(7, "CRIT restart?"), message(136, "CRIT fixed")]
    assert told(FIXED, messages) == [
        ("alert", "ServiceDown", 0.0),
        ("triage", "firing: up is 0", 1.0),
        ("diagnosis", "CONFIRMED: out of memory", 2.0),
        ("decision", "approved: restart container", 62.1),
        ("change", "restart container: done", 4.0),
        ("proof", "verified: held for 60 s", 64.9),
        ("told", "CRIT fixed", 1.0),
    ]


def test_an_agents_time_is_from_the_end_of_the_one_before() -> None:
    """It is heard when it is done; what a person adds later lasted no time."""
    events = [
        event(0, Kind.OPENED, "alertmanager"),
        event(30, Kind.AGENT, "monitor"),
        event(90, Kind.AGENT, "analyst"),
        event(9000, Kind.RATED, "kim"),
    ]
    found = story.chapters(story.of_events(events))
    assert [(each.seconds, each.is_work) for each in found] == [
        (0.0, False),
        (30.0, True),
        (60.0, True),
        (8910.0, False),
    ]


def test_what_was_told_in_the_middle_of_a_chapter_stays_in_it() -> None:
    found = story.chapters([*story.of_events(FIXED), *story.of_messages([message(7, "CRIT restart?")])])
    decision = next(each for each in found if each.phase == "decision")
    assert [each.text for each in decision.moments if each.phase == "told"] == ["CRIT restart?"]


def test_what_a_person_did_is_a_chapter_of_its_own() -> None:
    events = [
        event(0, Kind.OPENED, "alertmanager"),
        event(1, Kind.NOTED, "kim", "the rack was moved"),
        event(2, Kind.STATUS, "kim", "resolved_by_human: said by kim", to="closed"),
    ]
    assert [(phase, text) for phase, text, _ in told(events)] == [
        ("alert", "opened by alertmanager"),
        ("person", "resolved_by_human: said by kim"),
    ]


def test_what_people_say_is_never_folded_away() -> None:
    events = [
        event(0, Kind.OPENED, "alertmanager"),
        event(1, Kind.NOTED, "kim", "I look"),
        event(2, Kind.ACKNOWLEDGED, "kim", "acknowledged"),
        event(3, Kind.INVESTIGATE, "kim", "wants another look"),
    ]
    _, person = story.chapters(story.of_events(events))
    assert [each.text for each in person.told] == ["I look", "wants another look"]


def test_the_same_words_to_several_channels_are_one_moment() -> None:
    rows = [message(1, "CRIT down"), message(2, "CRIT down", channel="tgram-2")]
    [moment] = story.of_messages(rows)
    assert (moment.actor, moment.at) == ("ntfy-1, tgram-2", START + timedelta(seconds=1))


def test_what_is_told_of_something_else_is_another_moment_also_in_the_same_words() -> None:
    rows = [
        message(1, "CRIT down 1h", dedup_key="7:opened:0:ntfy-1"),
        message(9, "CRIT down 1h", dedup_key="7:opened:1:ntfy-1"),
    ]
    assert [(each.at - START).total_seconds() for each in story.of_messages(rows)] == [1.0, 9.0]


def test_a_channel_that_was_never_reached_was_not_told() -> None:
    rows = [message(1, "CRIT down"), message(2, "CRIT down", channel="tgram-2", sent_at=None, state="dead")]
    assert [(each.title, each.actor) for each in story.of_messages(rows)] == [
        ("could not be told", "tgram-2"),
        ("Update", "ntfy-1"),
    ]


def test_what_was_not_sent_yet_was_not_told_and_what_never_will_be_is_said() -> None:
    assert story.of_messages([message(1, "CRIT down", sent_at=None, state="waiting")]) == []
    [moment] = story.of_messages([message(1, "CRIT down", sent_at=None, state="dead")])
    assert moment.title == "could not be told"


def test_a_second_decision_is_a_second_chapter() -> None:
    events = [
        event(0, Kind.ASKED, "authorize"),
        event(1, Kind.EXECUTED, "executor"),
        event(2, Kind.ASKED, "authorize"),
    ]
    assert [phase for phase, _, _ in told(events)] == ["decision", "change", "decision"]


def test_a_look_that_came_to_no_verdict_is_no_proof() -> None:
    def shown(*events: Event) -> list[tuple[str, str]]:
        return [(each.title, each.look) for each in story.chapters(story.of_events(events))]

    looked = event(1, Kind.PROOF, "proof", "firing: the expression is true")
    assert shown(looked) == [("Watch", "watch")]
    ended = event(2, Kind.STATUS, "proof", "not_fixed: still firing", to="closed")
    assert shown(looked, ended) == [("Proof", "unproven")]
    assert shown(event(2, Kind.STATUS, "proof", "verified: clear", to="closed")) == [("Proof", "proof")]
    assert shown(event(1, Kind.RESOLVED_BY_SENDER, "alertmanager")) == [("Alert", "watch")]


def test_every_kind_of_event_has_a_chapter() -> None:
    found = {kind: story.phase_of(event(0, kind, "x")) for kind in Kind}
    assert found.pop(Kind.STATUS) == ""  # belongs to what goes on
    assert set(found.values()) <= set(story.TITLES)


def test_an_incident_without_events_has_no_story() -> None:
    assert story.chapters([]) == []
