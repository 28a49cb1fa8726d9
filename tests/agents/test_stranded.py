"""Dead steps are never the end of an incident: actions are settled, people told, the watch goes on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from agents import advance as machine
from agents import proof, services, stranded
from agents.advance import advance
from agents.models import Action, CrewRun, Step
from incidents.models import Event, Incident
from incidents.queue import LIVE, State
from tests.agents.rows import an_action
from tests.agents.test_executor import Engine, approved, engine, status
from tests.incidents.rows import an_incident

__all__ = ["approved", "engine"]
pytestmark = pytest.mark.django_db


def die(step: Step) -> None:
    """As the step whose last workers were all killed, taken up once more."""
    gone = timezone.now() - timedelta(seconds=1)
    Step.objects.filter(pk=step.pk).update(state=State.RUNNING, lost_leases=Step.MAX_LOST, lease_until=gone)
    advance(step.pk)


def live() -> set[str]:
    return set(Step.objects.filter(state__in=LIVE).values_list("agent", flat=True))


def let_rest() -> None:
    """As if nothing had happened for a while."""
    old = timezone.now() - timedelta(minutes=2)
    Step.objects.update(created_at=old)
    Step.objects.filter(finished_at__isnull=False).update(finished_at=old)
    Step.objects.filter(started_at__isnull=False).update(started_at=old)
    Event.objects.update(at=old)


def test_a_dead_executor_withdraws_its_action_and_the_watch_goes_on(engine: Engine, approved) -> None:
    action, step = approved()
    die(step)
    assert status(action) == Action.Status.WITHDRAWN
    assert Incident.objects.get().status == "proving"
    assert live() == {"proof", "communicator"}
    assert engine.calls == []


def test_a_dead_proof_is_watched_on_while_a_question_waits() -> None:
    action = an_action()
    run = action.step.run
    die(services.add_step(run, Step.Agent.PROOF, output=proof.begin(action.incident).as_json()))
    assert "proof" in live()
    assert (status(action), Incident.objects.get().status) == ("awaiting_approval", "awaiting_approval")


def test_an_executing_action_of_a_dead_step_frees_its_host(engine: Engine, approved, settings) -> None:
    settings.COOLDOWN_SECONDS = 0
    stuck, dead = approved("a")
    waiting, step = approved("b")
    Action.objects.filter(pk=stuck.pk).update(
        status="executing", executing_at=timezone.now() - timedelta(hours=2)
    )
    die(dead)
    assert status(stuck) == Action.Status.UNKNOWN
    advance(step.pk)
    assert status(waiting) == Action.Status.DONE


def test_an_action_that_the_engine_may_be_at_is_settled_later(engine: Engine, approved) -> None:
    action, step = approved()
    Action.objects.update(status="executing", executing_at=timezone.now())
    die(step)
    assert status(action) == Action.Status.EXECUTING
    Action.objects.update(executing_at=timezone.now() - timedelta(minutes=5))
    engine.restarts = 1
    let_rest()
    assert stranded.settle_all() == 1
    assert status(action) == Action.Status.DONE
    assert Step.objects.get(agent=Step.Agent.PROOF).output["action"] == "done"


def test_an_executing_action_of_a_closed_incident_is_settled(engine: Engine, approved) -> None:
    action, step = approved()
    Action.objects.update(status="executing", executing_at=timezone.now() - timedelta(hours=1))
    Step.objects.filter(pk=step.pk).update(state=State.DEAD)
    services.finish_run(action.incident)
    Incident.objects.update(status="closed", verdict="false_alarm", closed_at=timezone.now())
    let_rest()
    stranded.settle_all()
    assert status(action) == Action.Status.UNKNOWN
    assert live() == set()


def test_a_worker_killed_before_it_told_of_a_dead_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """As kill -9."""

    def killed(step: Step) -> None:
        raise Killed

    run = services.start_run(an_incident(status="new").pk)
    assert run is not None
    with monkeypatch.context() as patch:
        patch.setattr(machine, "_abandon", killed)
        with pytest.raises(Killed):
            die(run.steps.get())
    assert stranded.settle_all() == 0  # somebody may be at it in this moment
    let_rest()
    assert stranded.settle_all() == 1
    assert Incident.objects.get().status == "proving"
    assert live() == {"proof", "communicator"}
    let_rest()
    assert stranded.settle_all() == 0


def test_an_action_that_lost_its_executor_while_the_watch_rests(engine: Engine, approved) -> None:
    action, step = approved()
    services.add_step(step.run, Step.Agent.PROOF, output=proof.begin(action.incident).as_json())
    Step.objects.filter(pk=step.pk).update(state=State.DEAD)
    let_rest()
    assert stranded.settle_all() == 1
    assert (status(action), Incident.objects.get().status) == ("withdrawn", "proving")


def test_work_that_goes_on_is_not_stranded(engine: Engine, approved) -> None:
    approved()
    an_action(an_incident(status="new"), status=Action.Status.REFUSED)
    let_rest()
    assert stranded.settle_all() == 0


def test_a_finished_run_gets_no_more_work() -> None:
    action = an_action()
    run = action.step.run
    services.finish_run(action.incident)
    with pytest.raises(services.NotNow):
        services.add_step(run, Step.Agent.PROOF)
    assert services.add_step(run, Step.Agent.COMMUNICATOR).pk


def test_a_step_of_an_earlier_run_ends_when_the_incident_came_back() -> None:
    incident = an_incident(status="new")
    first = services.start_run(incident.pk)
    assert first is not None
    step = services.add_step(first, Step.Agent.ANALYST)
    mine = Step.queue.claim(step.pk)
    Incident.objects.update(status="new")
    services.start_run(incident.pk)
    machine._take(mine)
    assert Step.objects.get(pk=step.pk).state == State.DONE
    assert not CrewRun.objects.get(pk=first.pk).steps.filter(state__in=LIVE).exists()
