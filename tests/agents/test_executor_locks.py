"""Changes that begin at the same moment, on a real PostgreSQL, where nothing else puts them in a line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from agents import actions
from agents.advance import advance
from agents.models import Action, ActionKind, Guard, Step
from incidents.queue import State
from tests.agents.test_executor import Engine, approved, engine
from tests.e2e.on_postgres import at_once, on_postgres, server

__all__ = ["approved", "engine", "on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]
ROUNDS = 5


@pytest.fixture
def together(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Step]], None]:
    """Let the executors of some steps read their targets, and then begin at one moment."""

    def run(steps: list[Step]) -> None:
        have_read = threading.Barrier(len(steps))

        def state(action: Action) -> actions.TargetState:
            have_read.wait(20)
            return engine.state

        with monkeypatch.context() as patch:
            spec = actions.SPECS[ActionKind.RESTART_CONTAINER]
            patch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, replace(spec, state=state))
            at_once([partial(advance, step.pk) for step in steps])

    return run


def statuses() -> list[str]:
    return sorted(Action.objects.values_list("status", flat=True))


def test_two_changes_of_one_host_are_never_in_flight_together(
    engine: Engine, approved, together, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.COOLDOWN_SECONDS, settings.CHANGES_PER_HOUR = 0, 1000
    in_flight: list[int] = []

    def restart(action: Action) -> None:
        in_flight.append(Action.objects.filter(status="executing").count())

    spec = actions.SPECS[ActionKind.RESTART_CONTAINER]
    monkeypatch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, replace(spec, run=restart))
    for number in range(ROUNDS):
        steps = [approved(f"{name}{number}")[1] for name in ("web", "db")]
        together(steps)
        waiting = Step.objects.filter(pk__in=[step.pk for step in steps], state=State.WAITING)
        for pk in waiting.values_list("pk", flat=True):
            Step.objects.filter(pk=pk).update(due_at=timezone.now())
            advance(pk)
    assert statuses() == ["done"] * 2 * ROUNDS
    assert in_flight == [1] * 2 * ROUNDS


def test_while_one_is_in_flight_the_other_of_its_host_waits(
    engine: Engine, approved, together, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.COOLDOWN_SECONDS = 0
    seen = threading.Event()

    def restart(action: Action) -> None:
        """Takes until the other has tried."""
        assert seen.wait(20), "the other did not give its turn back"

    put_back = Step.put_back

    def noticed(step: Step, **options: Any) -> bool:
        done = put_back(step, **options)
        if step.agent == Step.Agent.EXECUTOR:
            seen.set()
        return done

    monkeypatch.setattr(Step, "put_back", noticed)
    spec = actions.SPECS[ActionKind.RESTART_CONTAINER]
    monkeypatch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, replace(spec, run=restart))
    together([approved(name)[1] for name in ("web", "db")])
    assert statuses() == ["approved", "done"]


def test_changes_of_two_hosts_are_in_flight_together(
    engine: Engine, approved, together, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)

    def restart(action: Action) -> None:
        both.wait(20)

    spec = actions.SPECS[ActionKind.RESTART_CONTAINER]
    monkeypatch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, replace(spec, run=restart))
    together([approved("web", host=host)[1] for host in ("nas", "pi")])
    assert statuses() == ["done", "done"]


@pytest.mark.parametrize("limit", [1, 3])
def test_limits_are_counted_exactly_when_many_begin_at_once(
    engine: Engine, approved, together, settings, limit: int
) -> None:
    settings.CHANGES_PER_HOUR = limit
    together([approved("web", host=f"host{number}")[1] for number in range(6)])
    assert statuses() == sorted(["done"] * limit + ["withdrawn"] * (6 - limit))
    assert len(engine.calls) == limit
    assert Guard.objects.count() == 1
