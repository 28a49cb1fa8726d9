"""A worker that has finished a step goes on with the next one, for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from django.utils import timezone

from agents import advance, services
from agents.models import CrewRun, Step
from incidents import broker, leases
from incidents.queue import State
from tests.incidents.rows import an_episode, an_incident

pytestmark = pytest.mark.django_db(transaction=True)
THINKING = [Step.Agent.MONITOR, Step.Agent.ANALYST, Step.Agent.HEALER]


class Sent:
    """A Celery application that keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, int]] = []

    def send_task(self, name: str, args: tuple[int], **_: Any) -> None:
        self.messages.append((name, args[0]))

    def connection_for_write(self, **options: Any) -> Any:
        return Celery(broker="memory://").connection_for_write(**options)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    made = Sent()
    monkeypatch.setattr(broker, "current_app", made)
    broker._producers.cache_clear()
    yield made
    broker._producers.cache_clear()


@pytest.fixture
def run(sent: Sent) -> CrewRun:
    incident = an_incident(status="new")
    an_episode(incident)
    made = services.start_run(incident.pk)
    assert made is not None
    assert sent.messages == [(Step.TASK, made.steps.get().pk)]
    sent.messages.clear()
    return made


def done(run: CrewRun) -> list[str]:
    return list(run.steps.filter(state="done").order_by("pk").values_list("agent", flat=True))


def test_one_message_leads_through_a_run(run: CrewRun, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advance, "SHIFT_SECONDS", 60.0)  # this machine may be slow
    advance.advance(run.steps.get().pk)
    assert done(run) == [*THINKING, Step.Agent.COMMUNICATOR]
    assert [name for name, _ in sent.messages] == ["incidents.tasks.deliver_notification"]


def test_when_it_took_long_another_worker_may_go_on(
    run: CrewRun, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advance, "SHIFT_SECONDS", 0.0)
    advance.advance(run.steps.get().pk)
    assert done(run) == [Step.Agent.MONITOR]
    assert sent.messages == [(Step.TASK, run.steps.get(agent=Step.Agent.ANALYST).pk)]


def test_what_fails_is_not_gone_on_with(run: CrewRun, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(step: Step) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(advance, "SHIFT_SECONDS", 60.0)
    monkeypatch.setitem(advance.HANDLERS, Step.Agent.ANALYST, fails)
    with pytest.raises(RuntimeError):
        advance.advance(run.steps.get().pk)
    assert done(run) == [Step.Agent.MONITOR]
    assert "no memory left" in run.steps.get(agent=Step.Agent.ANALYST).error


def test_what_is_gone_on_with_was_claimed_as_it_was_written(
    run: CrewRun, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int, bool, int]] = []

    def looks(step: Step) -> None:
        row = Step.objects.get(pk=step.pk)
        seen.append((row.state, row.fence, row.started_at is not None, leases.renew()))
        step.finish(finished_at=timezone.now())

    monkeypatch.setattr(advance, "SHIFT_SECONDS", 60.0)
    monkeypatch.setitem(advance.HANDLERS, Step.Agent.ANALYST, looks)
    advance.advance(run.steps.get().pk)
    assert seen == [("running", 1, True, 1)]
    assert leases.renew() == 0


def test_who_breaks_after_the_commit_leaves_what_follows_to_others(
    run: CrewRun, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = advance.HANDLERS[Step.Agent.MONITOR]

    def breaks(step: Step) -> None:
        work(step)
        raise RuntimeError("too late")

    monkeypatch.setattr(advance, "SHIFT_SECONDS", 60.0)
    monkeypatch.setitem(advance.HANDLERS, Step.Agent.MONITOR, breaks)
    with pytest.raises(RuntimeError):
        advance.advance(run.steps.get().pk)
    following = run.steps.get(agent=Step.Agent.ANALYST)
    assert (following.state, following.lost_leases) == ("waiting", 0)
    assert Step.queue.take_hints() == {following.pk: State.WAITING}
