"""Where an alert usually heals itself sooner than a change would help, the Healer waits, and says why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from agents import patience, questions, services
from agents.advance import advance
from agents.models import Action, Step
from agents.patience import History
from agents.reading import ExpressionState
from incidents.models import Event, Incident, Notification, Target, Verdict
from incidents.queue import State
from tests.agents.crew_world import ALERT, CrewWorld, fresh, work, world
from tests.agents.rows import an_action
from tests.incidents.rows import a_target, an_incident

__all__ = ["world"]
pytestmark = pytest.mark.django_db
HEALED = Verdict.CLEARED_BEFORE_ACTION


def past(verdict: Verdict, seconds: float | None = None, *, days: float = 1, name: str = "web") -> Incident:
    """A closed incident of the alert; `seconds` from its start to its clearing."""
    target = Target.objects.filter(name=name).first() or a_target(name)
    closed = timezone.now() - timedelta(days=days)
    started = closed - timedelta(seconds=seconds or 60)
    times = {"started_at": started, "closed_at": closed}
    return an_incident(verdict, seconds=seconds, target=target, alert_name=ALERT, **times)


def heals_itself(times: int = 9, of: int = 10, *, seconds: float = 80) -> None:
    for number in range(of):
        past(HEALED, seconds) if number < times else past(Verdict.NOT_FIXED)


def healer(incident: Incident) -> Step:
    return Step.objects.get(run__incident=incident, agent=Step.Agent.HEALER)


def waits(incident: Incident) -> bool:
    step = healer(incident)
    return step.state == State.WAITING and step.waits_since is not None


def over(incident: Incident) -> None:
    """The Healer's waiting is over."""
    pk = healer(incident).pk
    Step.objects.filter(pk=pk).update(due_at=timezone.now())
    advance(pk)
    work()


# --- what is learnt -------------------------------------------------------------------------------


@given(
    healed=st.lists(st.floats(0, 1e6), max_size=30),
    others=st.integers(0, 30),
)
def test_it_heals_itself_when_three_of_four_did_in_that_time(healed: list[float], others: int) -> None:
    expected = History(len(healed) + others, tuple(healed)).heals_in()
    if expected is None:
        assert len(healed) < 5 or len(healed) < 0.75 * (len(healed) + others)
    else:
        assert sum(each <= expected for each in healed) >= 0.75 * (len(healed) + others)


def test_what_is_learnt_and_from_what() -> None:
    for _ in range(5):
        past(HEALED, 100)
    past(HEALED, 100, days=91)  # long ago
    past(Verdict.FALSE_ALARM)
    past(Verdict.RESOLVED_BY_HUMAN)
    past(Verdict.UNKNOWN)
    fixed = past(Verdict.VERIFIED, 300)
    an_action(
        fixed,
        fixed.target,
        status=Action.Status.DONE,
        helped=True,
        executing_at=fixed.started_at + timedelta(seconds=260),
    )
    other = an_incident(HEALED, seconds=1, alert_name="Another", closed_at=timezone.now())
    assert other.target is None
    found = patience.history_of(ALERT, "docker")
    assert (found.cases, found.healed) == (8, (100.0,) * 5)
    assert list(found.changed) == [pytest.approx(40)]
    assert found.change_takes(60) == pytest.approx(100)
    assert patience.history_of(ALERT, "lxc") == History()


# --- waiting --------------------------------------------------------------------------------------


def test_the_healer_waits_and_says_why_and_until_when(world: CrewWorld) -> None:
    heals_itself()
    incident = world.breaks("web", severity="warning", severity_class="warning")
    assert waits(incident)
    assert (incident.status, incident.waiting_for) == ("proving", "proof")
    assert not incident.actions.exists()
    text = incident.events.filter(kind=Event.Kind.AGENT, actor="healer").get().text
    assert f"{ALERT} usually heals itself in 1m (9 of 10 in the last 90 days); waiting until" in text
    message = Notification.objects.get(incident=incident)
    assert "waits until" in message.title
    assert text in message.body
    wait = healer(incident).due_at - timezone.now()
    assert timedelta(seconds=30) < wait <= timedelta(seconds=50)


def test_what_heals_meanwhile_ends_as_such_and_nothing_was_asked(world: CrewWorld) -> None:
    heals_itself()
    incident = world.breaks("web")
    world.down.clear()
    work()
    assert fresh(incident).verdict == HEALED
    assert healer(incident).state == State.DONE
    assert not incident.actions.exists()
    assert not Notification.objects.filter(kind="decision").exists()


def test_what_does_not_heal_is_proposed_after_the_waiting(world: CrewWorld) -> None:
    heals_itself()
    incident = world.breaks("web")
    over(incident)
    assert fresh(incident).status == "awaiting_approval"
    assert incident.actions.get().status == Action.Status.AWAITING_APPROVAL


def test_what_is_clear_when_the_waiting_ends_is_left_to_the_proof_but_not_for_ever(
    world: CrewWorld, settings: Any
) -> None:
    settings.PROOF_HOLD_SECONDS = 60
    heals_itself()
    incident = world.breaks("web")
    world.down.clear()
    work(1)
    over(incident)
    assert waits(incident)
    Step.objects.filter(pk=healer(incident).pk).update(waits_since=timezone.now() - timedelta(minutes=10))
    over(incident)
    assert healer(incident).state == State.DONE


def test_no_other_verdict_is_given_while_the_healer_waits(world: CrewWorld) -> None:
    """The sender resolves what only vanished: the Healer has its turn first."""
    heals_itself()
    incident = world.breaks("web")
    world.seen = lambda episode: ExpressionState.UNKNOWN
    Incident.objects.filter(pk=incident.pk).update(ended_at=timezone.now())
    work()
    assert fresh(incident).verdict is None
    assert waits(incident)


@pytest.mark.parametrize(
    "case",
    [
        "four healed",
        "seven of ten",
        "it takes longer than a change",
        "its time is over",
        "a change takes less",
        "nothing is known",
        "observed only",
    ],
)
def test_when_nobody_waits(world: CrewWorld, settings: Any, case: str) -> None:
    known: dict[str, dict[str, Any]] = {
        "four healed": {"times": 4, "of": 4},
        "seven of ten": {"times": 7},
        "it takes longer than a change": {"seconds": 200},
        "its time is over": {"seconds": 20},
        "nothing is known": {"of": 0},
    }
    heals_itself(**known.get(case, {}))
    if case == "a change takes less":
        for target in ("a", "b", "c"):
            fixed = past(Verdict.VERIFIED, 300, name=target)
            began = fixed.started_at + timedelta(seconds=295)
            an_action(fixed, fixed.target, status=Action.Status.DONE, helped=True, executing_at=began)
        heals_itself(20, 20)
    if case == "observed only":
        settings.REMEDIATION_MODE = "observe"
    incident = world.breaks("web")
    assert healer(incident).state == State.DONE


@pytest.mark.parametrize(("severity", "expected"), [("critical", False), ("warning", True)])
def test_a_critical_is_never_kept_waiting_for_more_than_two_minutes(
    world: CrewWorld, settings: Any, severity: str, expected: bool
) -> None:
    settings.PROOF_HOLD_SECONDS = 600  # a change is known to have helped only after that
    heals_itself(seconds=30 + 130)
    incident = world.breaks("web", severity=severity, severity_class=severity)
    assert waits(incident) is expected


def test_nobody_waits_longer_than_ten_minutes(world: CrewWorld, settings: Any) -> None:
    settings.PROOF_HOLD_SECONDS = 3600
    heals_itself(seconds=30 + 610)
    assert not waits(world.breaks("web", severity="warning", severity_class="warning"))


def test_who_asks_by_hand_is_not_kept_waiting(world: CrewWorld) -> None:
    incident = world.breaks("web")
    questions.reject(incident.actions.get(), by="alice")
    heals_itself()
    questions.ask_again(incident.actions.get(), by="alice")
    work()
    assert incident.actions.filter(status=Action.Status.AWAITING_APPROVAL).exists()


def test_who_asks_by_hand_ends_the_waiting(world: CrewWorld) -> None:
    incident = world.breaks("web")
    asked = incident.actions.get()
    questions.reject(asked, by="alice")
    heals_itself()
    step = services.add_step(asked.step.run, Step.Agent.HEALER, focus=asked.target)
    advance(step.pk)
    assert patience.waiting(asked.step.run).get() == step
    assert questions.ask_again(asked, by="alice") == step
    advance(step.pk)
    assert incident.actions.filter(status=Action.Status.AWAITING_APPROVAL).exists()


def test_another_target_is_not_kept_waiting(world: CrewWorld) -> None:
    heals_itself()
    incident = world.breaks("web")
    services.work_on(healer(incident).run, a_target("db"))
    assert Step.objects.filter(agent=Step.Agent.ANALYST, focus__name="db").exists()


def test_it_is_learnt_in_one_statement_with_an_index(world: CrewWorld) -> None:
    heals_itself(30, 40)
    with CaptureQueriesContext(connection) as asked:
        patience.history_of(ALERT, "docker")
    assert len(asked) == 1
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{asked[0]['sql']}")
        plan = str(cursor.fetchall())
    if connection.vendor == "sqlite":
        assert "closed_by_alert" in plan
