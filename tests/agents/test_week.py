"""The week on the page and in the chat: each incident once, the wrong ones first, and told once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from agents import week
from agents.models import Action, Autonomy
from incidents import jobs
from incidents.models import Incident, Job, Notification, Rating, Verdict
from incidents.quiet import parse as parse_quiet
from incidents.weekly import parse
from tests.agents.rows import an_action
from tests.incidents.chat import Chat
from tests.incidents.clock import Clock, clock
from tests.incidents.rows import a_target, an_incident

__all__ = ["clock"]
pytestmark = pytest.mark.django_db
MONDAY = datetime.fromisoformat("2026-11-23T08:00:00+01:00")


@pytest.fixture(autouse=True)
def now(clock: Clock, settings: Settings) -> Clock:
    """Monday, five past eight in Berlin; the week is told at eight."""
    settings.TIME_ZONE = "Europe/Berlin"
    settings.WEEKLY_REPORT = parse("mon 08:00")
    clock.moment = MONDAY + timedelta(minutes=5)
    return clock


@pytest.fixture
def chat(settings: Settings) -> Iterator[Chat]:
    made = Chat()
    settings.NOTIFY_URLS = [made.url]
    yield made
    made.close()


def ended(verdict: Verdict, **fields: Any) -> Incident:
    at = MONDAY - timedelta(days=1)
    return an_incident(verdict, **{"opened_at": at, "started_at": at, "closed_at": at, **fields})


def approved(**fields: Any) -> Incident:
    incident = ended(Verdict.VERIFIED, **fields)
    an_action(incident, status=Action.Status.DONE, by_person=True, helped=True)
    return incident


def test_each_incident_is_in_one_group_and_the_wrong_ones_come_first() -> None:
    not_fixed, unknown = ended(Verdict.NOT_FIXED), ended(Verdict.UNKNOWN)
    yes, alone = approved(target=a_target()), ended(Verdict.VERIFIED)
    called_wrong = ended(Verdict.VERIFIED, rating=Rating.WRONG)
    ended(Verdict.CLEARED_BEFORE_ACTION)
    ended(Verdict.VERIFIED, closed_at=MONDAY - timedelta(days=8))
    found = week.of()
    assert [(group.key, group.count) for group in found.groups] == [
        ("wrong", 2),
        ("unknown", 1),
        ("approved", 1),
        ("alone", 1),
    ]
    assert {row.pk for row in found.wrong.incidents} == {not_fixed.pk, called_wrong.pk}
    assert [group.incidents[0] for group in found.groups[1:]] == [unknown, yes, alone]
    assert found.ended == 6
    assert ("over by itself", 1) in found.others


def test_an_approved_one_that_is_called_wrong_is_counted_as_wrong_alone() -> None:
    approved(rating=Rating.WRONG, target=a_target())
    found = week.of()
    assert [group.count for group in found.groups] == [1, 0, 0, 0]


def test_a_group_shows_the_latest_and_says_how_many_more() -> None:
    for number in range(week.SHOWN + 2):
        last = ended(Verdict.UNKNOWN, closed_at=MONDAY - timedelta(hours=20 - number))
    unknown = week.of().unknown
    assert (unknown.count, len(unknown.incidents), unknown.more) == (week.SHOWN + 2, week.SHOWN, 2)
    assert unknown.incidents[0] == last


def test_the_noisiest_alerts_and_the_offers() -> None:
    for name, times in (("DiskFull", 3), ("Probe", 2), ("Oom", 1), ("Aaa", 1)):
        for _ in range(times):
            ended(Verdict.UNKNOWN, alert_name=name)
    Autonomy.objects.create(
        kind="restart_container",
        target_kind="docker",
        alert_name="Oom",
        offered_at=timezone.now(),
        offered_count=8,
    )
    found = week.of()
    assert found.noisiest == [("DiskFull", 3), ("Probe", 2), ("Aaa", 1)]
    assert "Oom" in str(found.offers[0][0])
    assert "Offered: restart container for Oom (docker): 0 of 0 verified; stop asking?" in week.body(found)


def test_test_alerts_are_no_part_of_it() -> None:
    ended(Verdict.FALSE_ALARM, source="homelab-test")
    approved(source="homelab-test", target=a_target())
    found = week.of()
    assert found.is_empty
    assert [group.count for group in found.groups] == [0, 0, 0, 0]


def test_a_sender_cannot_hide_its_alerts_by_the_name_of_a_test() -> None:
    approved(alert_name="HomelabTest", target=a_target())
    ended(Verdict.NOT_FIXED, alert_name="HomelabTest")
    assert [group.count for group in week.of().groups] == [1, 0, 1, 0]


def told() -> list[Notification]:
    return list(Notification.objects.order_by("pk"))


def due() -> None:
    """As a worker does when the job is due, which each beat may find."""
    week_job, _ = Job.objects.get_or_create(name=week.JOB)
    jobs.request(week.JOB, by="beat")
    jobs.run(week_job.pk)


def last_week_was_told() -> None:
    Job.objects.create(name=week.JOB, result={"told": (MONDAY - timedelta(days=7)).isoformat()})


def test_the_week_is_told_once_over_many_beats(chat: Chat, clock: Clock) -> None:
    last_week_was_told()
    wrong = ended(Verdict.NOT_FIXED)
    for _ in range(3):
        due()
    clock.work()
    [message] = chat.messages
    assert message["title"] == "Week: 1 wrong"
    assert f"incident #{wrong.pk}" in message["message"]


def test_a_worker_that_died_after_telling_does_not_tell_again(chat: Chat, clock: Clock) -> None:
    last_week_was_told()
    ended(Verdict.NOT_FIXED)
    due()
    Job.objects.update(result={"told": (MONDAY - timedelta(days=7)).isoformat()})  # it came to no result
    due()
    assert len(told()) == 1


def test_the_next_week_is_told_again(chat: Chat, clock: Clock) -> None:
    last_week_was_told()
    ended(Verdict.NOT_FIXED)
    due()
    clock.moment += timedelta(days=7)
    ended(Verdict.UNKNOWN, closed_at=clock.moment - timedelta(days=1))
    due()
    assert [row.title for row in told()] == ["Week: 1 wrong", "Week: 1 unknown"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2026-10-19T08:00:00+02:00", "2026-10-26T08:00:00+01:00"),
        ("2026-03-23T08:00:00+01:00", "2026-03-30T08:00:00+02:00"),
    ],
)
def test_each_hour_is_in_one_week_when_the_clocks_change(
    chat: Chat, clock: Clock, before: str, after: str
) -> None:
    begin, end = datetime.fromisoformat(before), datetime.fromisoformat(after)
    for number in range(-2, 3):  # half an hour apart, two in the week before
        ended(Verdict.NOT_FIXED, closed_at=begin + timedelta(minutes=30 * number))
    Job.objects.create(name=week.JOB, result={"told": (begin - timedelta(days=7)).isoformat()})
    for moment in (begin, end):
        clock.moment = moment + timedelta(minutes=5)
        due()
    assert [row.title for row in told()] == ["Week: 2 wrong", "Week: 3 wrong"]


def test_a_fresh_install_does_not_tell_of_the_week_before_it(chat: Chat) -> None:
    ended(Verdict.NOT_FIXED)
    due()
    assert told() == []
    assert jobs.last_result(week.JOB) == {"told": "2026-11-23T07:00:00+00:00"}


def test_a_week_in_which_nothing_happened_is_not_told(chat: Chat) -> None:
    last_week_was_told()
    due()
    assert told() == []


def test_it_can_be_turned_off(chat: Chat, settings: Settings) -> None:
    settings.WEEKLY_REPORT = None
    last_week_was_told()
    ended(Verdict.NOT_FIXED)
    due()
    assert told() == []


def test_quiet_hours_hold_it(chat: Chat, clock: Clock, settings: Settings) -> None:
    settings.QUIET_HOURS = parse_quiet("22:00-09:00")
    last_week_was_told()
    ended(Verdict.NOT_FIXED)
    due()
    clock.work()
    assert chat.messages == []
    clock.pass_minutes(60)
    assert [message["title"] for message in chat.messages] == ["Week: 1 wrong"]


def test_the_first_line_says_it_all_and_links_lead_to_the_pages(settings: Settings) -> None:
    settings.PUBLIC_URL = "https://homelab.example.org"
    for verdict in Verdict:
        ended(verdict)
    an_action()
    found = week.of()
    assert week.title(found) == "Week: 2 wrong, 1 unknown, 1 fixed alone, 3 others · 1 open"
    assert len(week.title(found)) <= 90
    text = week.body(found)
    assert text.index("Wrong: 2") < text.index("Unknown: 1") < text.index("Fixed alone: 1")
    assert f"https://homelab.example.org/incidents/{found.unknown.incidents[0].pk}" in text
    assert "1 false alarm" in text
    assert text.endswith("https://homelab.example.org/")


def test_it_costs_the_same_for_any_number() -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            found = week.of()
            week.body(found)
        return len(seen)

    def more() -> None:
        ended(Verdict.NOT_FIXED, target=target)
        ended(Verdict.UNKNOWN, target=target)
        approved(target=target)
        ended(Verdict.VERIFIED, target=target)

    target = a_target()
    more()
    few = queries()
    for _ in range(10):
        more()
    assert queries() == few
