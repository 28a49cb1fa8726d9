"""Who asks whether a contested alert is active: a few workers, each alert once, and not for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from agents import contested, judgement, proof, tasks
from agents.reading import ExpressionState
from agents.tools import alertmanager
from incidents import broker, episodes, intake, turns
from incidents.models import Episode, Turn, Verdict
from tests.incidents.rows import an_episode, an_incident

pytestmark = pytest.mark.django_db
NOBODY = (None, "no answer in 12 s")


@pytest.fixture
def waiting() -> list[Episode]:
    now = timezone.now()
    incident = an_incident()
    return [an_episode(incident, ends_at=now, contested_at=now + timedelta(milliseconds=n)) for n in range(5)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The episodes that were asked about; nobody answers."""
    seen: list[int] = []

    def ask(episode: Episode) -> tuple[bool | None, str]:
        seen.append(episode.pk)
        return NOBODY

    monkeypatch.setattr(contested, "_ask", ask)
    return seen


def pass_time(seconds: float) -> None:
    span = timedelta(seconds=seconds)
    for row in Episode.objects.contested():
        row.contested_at = (row.contested_at or timezone.now()) - span
        row.asked_at = row.asked_at - span if row.asked_at else None
        row.save()


def test_one_worker_asks_about_an_alert_and_again_only_later(
    waiting: list[Episode], asked: list[int]
) -> None:
    first = waiting[0].pk
    contested.settle(first)
    contested.settle(first)
    assert asked == [first]
    pass_time(31)
    contested.settle(first)
    assert asked == [first, first]


def test_what_is_contested_anew_is_asked_at_once(waiting: list[Episode], asked: list[int]) -> None:
    first = waiting[0].pk
    contested.settle(first)
    Episode.objects.filter(pk=first).update(contested_at=timezone.now())
    contested.settle(first)
    assert asked == [first, first]


def test_the_sweep_asks_nobody_it_only_hints(
    waiting: list[Episode], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    hints: list[tuple[str, int]] = []
    monkeypatch.setattr(broker, "send", lambda task, pk: hints.append((task, pk)))
    monkeypatch.setattr(turns, "take_sweep", lambda name: True)
    tasks.sweep_crew()
    assert [pk for task, pk in hints if task == contested.SETTLE] == [waiting[0].pk, waiting[1].pk]
    assert tasks.settle_contested.name == contested.SETTLE
    assert asked == []


def test_only_some_workers_ask_at_the_same_time(waiting: list[Episode], asked: list[int]) -> None:
    for slot in contested.SLOTS:
        assert turns.take(slot, seconds=60)
    contested.settle_in_turn(waiting[0].pk)
    assert asked == []
    turns.give_back(contested.SLOTS[0])
    contested.settle_in_turn(waiting[0].pk)
    assert asked == [row.pk for row in waiting], "it goes on with those that wait"
    assert turns.take(contested.SLOTS[0], seconds=60), "and gives its place back"


def test_who_hangs_is_not_asked_for_every_alert(
    waiting: list[Episode], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contested, "SLOW_SECONDS", -1.0)
    contested.settle_in_turn(waiting[0].pk)
    assert asked == [waiting[0].pk]
    assert turns.taken(contested.SILENT)
    pass_time(61)
    contested.settle_in_turn(waiting[0].pk)
    assert asked == [waiting[0].pk]
    assert not Episode.objects.contested().exists(), "all are believed after a minute"
    Turn.objects.filter(pk=contested.SILENT).update(until=timezone.now())
    assert not turns.taken(contested.SILENT)


def test_one_that_cannot_be_settled_does_not_stop_the_others(
    waiting: list[Episode], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_time(61)
    settle = intake.settle_contested

    def fail_for_the_first(episode: Episode, **said: object) -> None:
        if episode.pk == waiting[0].pk:
            raise RuntimeError("a row that breaks")
        settle(episode, active=True, how="")

    monkeypatch.setattr(intake, "settle_contested", fail_for_the_first)
    with pytest.raises(RuntimeError):
        contested.settle_in_turn(waiting[0].pk)
    contested.settle_in_turn(waiting[1].pk)
    assert [row.pk for row in Episode.objects.contested()] == [waiting[0].pk]


@pytest.mark.parametrize(
    ("minutes_ago", "state", "active"),
    [
        (1, ExpressionState.CLEARED, False),  # Alertmanager has not heard of the end yet
        (1, ExpressionState.FIRING, True),
        (1, ExpressionState.UNKNOWN, True),
        (11, ExpressionState.CLEARED, True),
    ],
)
def test_right_after_a_verdict_the_expression_says_more_than_alertmanagers_list(
    settings, monkeypatch: pytest.MonkeyPatch, minutes_ago: int, state: ExpressionState, active: bool
) -> None:
    now = timezone.now()
    closed = an_incident(Verdict.VERIFIED)
    closed.closed_at = now - timedelta(minutes=minutes_ago)
    closed.save()
    episode = an_episode(closed, contested_at=now)
    settings.ALERTMANAGER_URL = "http://alertmanager"
    alert = episodes.as_alert(episode)
    listed = alertmanager.Listing({"g": (alert,)}, frozenset({episode.fingerprint}))
    monkeypatch.setattr(alertmanager, "listing", lambda: listed)
    monkeypatch.setattr(proof, "observe_episode", lambda row: judgement.Look(state, "it says so"))
    contested.settle(episode.pk)
    closed.refresh_from_db()
    assert (closed.verdict is None or Episode.objects.exclude(incident=closed).exists()) is active
