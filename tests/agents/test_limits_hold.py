"""No story of incidents, answers and clocks passes a limit: the whole state machine, up to the world."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from agents import questions
from agents.models import Action
from agents.rules import Decision
from incidents import services as incident_services
from tests.agents.crew_world import CrewWorld, fresh, work, world
from tests.incidents.clock import Clock, clock

__all__ = ["clock", "world"]
pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
NAMES = ("web", "db", "mail")
ANSWERS = ("approve", "reject", "ask again", "take over", "give back")
HAPPENINGS = ("breaks", "breaks", *ANSWERS, "approve", "time", "time", "clock set back")


def answer(what: str, action: Action) -> None:
    """A person's answer to a question, in time or not."""
    with suppress(questions.NotWaiting, questions.CannotAsk):
        match what:
            case "approve":
                questions.approve(action, by="alice")
            case "reject":
                questions.reject(action, by="alice")
            case "ask again":
                questions.ask_again(action, by="alice")
            case "take over":
                incident_services.take_over(fresh(action.incident), by="alice")
            case "give back":
                incident_services.give_back(fresh(action.incident), by="alice")


def too_many(settings: Any) -> list[str]:
    """Which limits the changes that were begun have passed, by the clock of their rows."""
    rows = Action.objects.changes().values_list("target", "executing_at")
    begun = [(target, at) for target, at in rows if at is not None]
    wrong = []
    for target, at in begun:
        within = [(each, when) for each, when in begun if at <= when < at + HOUR]
        same = sorted(when for each, when in begun if each == target)
        if len(within) > settings.CHANGES_PER_HOUR:
            wrong.append(f"{len(within)} changes within an hour")
        if sum(each == target for each, _ in within) > settings.RESTARTS_PER_HOUR:
            wrong.append(f"more than {settings.RESTARTS_PER_HOUR} restarts of one target")
        rests = [(b - a).total_seconds() for a, b in pairwise(same)]
        if any(rest < settings.COOLDOWN_SECONDS for rest in rests):
            wrong.append(f"rested only {rests}")
    return wrong


happening = st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 2), st.integers(1, 40))


@pytest.mark.parametrize("mode", ["approve", "auto"])
@given(story=st.lists(happening, min_size=4, max_size=14))
@examples(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_story_passes_a_limit(
    mode: str, story: list[tuple[str, int, int]], world: CrewWorld, clock: Clock, settings: Any
) -> None:
    settings.REMEDIATION_MODE, world.mends = mode, False
    settings.RESTARTS_PER_HOUR, settings.CHANGES_PER_HOUR, settings.COOLDOWN_SECONDS = 2, 3, 900
    with transaction.atomic():
        for what, which, minutes in story:
            if what == "breaks":
                world.breaks(NAMES[which])
            elif what in ANSWERS:
                for action in Action.objects.filter(target__name=NAMES[which]).order_by("-pk")[:2]:
                    answer(what, action)
            else:
                clock.moment += timedelta(minutes=minutes if what == "time" else -minutes)
            work(3)
            assert too_many(settings) == []
            assert len(world.restarted) == Action.objects.changes().count()
        transaction.set_rollback(True)
    world.restarted.clear()


def test_without_the_rules_the_story_would(
    world: CrewWorld, clock: Clock, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the test above would show nothing."""
    settings.REMEDIATION_MODE, world.mends = "auto", False
    settings.RESTARTS_PER_HOUR, settings.CHANGES_PER_HOUR, settings.COOLDOWN_SECONDS = 2, 3, 900
    monkeypatch.setattr("agents.policy.decide", lambda facts, approved: Decision("allow"))
    for name in (*NAMES, *NAMES):
        world.breaks(name)
    assert too_many(settings)
