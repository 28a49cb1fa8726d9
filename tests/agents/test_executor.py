"""Side effects never repeat: what the executor does when it is cut off, late, refused, or not alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from agents import actions, executor, judgement, pauses, proof, services, stranded
from agents.advance import advance
from agents.models import Action, ActionKind, Step
from agents.reading import ExpressionState
from agents.tools.base import ToolError
from incidents.models import Event, Incident, Target
from incidents.queue import State
from tests.agents.rows import a_run
from tests.incidents.rows import an_episode, an_incident

pytestmark = pytest.mark.django_db
RUNNING = actions.TargetState("id-1", "image-1", "running", {}, None, None, "2026-01-01T00:00:00Z")


class Engine:
    """A target's state, and what was done to it."""

    def __init__(self) -> None:
        self.state = RUNNING
        self.calls: list[str] = []
        self.fails: ToolError | None = None
        self.happens = True
        self.restarts = 0  # the engine's own `restart` events

    def restart(self, action: Action) -> None:
        self.calls.append(action.target.key)
        if self.happens:
            self.restarts += 1
            self.state = replace(self.state, started_at="2026-01-02T00:00:00Z")
        if self.fails:
            raise self.fails


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, settings) -> Engine:
    made = Engine()
    spec = replace(
        actions.SPECS[ActionKind.RESTART_CONTAINER],
        state=lambda action: made.state,
        run=made.restart,
        happened=lambda action, before: made.restarts > 0,
        under_way=lambda action: 25.0,
        evidence=lambda action: {"logs": ["password=hunter2"]},
    )
    monkeypatch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, spec)
    look = judgement.Look(ExpressionState.FIRING, "the expression is true", fresh=("up",))
    monkeypatch.setattr(proof, "observe", lambda incident, progress=None: look)
    monkeypatch.setattr(proof, "observe_target", lambda incident, target: proof.observe(incident))
    settings.REMEDIATION_MODE = "auto"
    return made


@pytest.fixture
def approved(engine: Engine) -> Callable[..., tuple[Action, Step]]:
    """An approved action and its executor's step."""

    def make(name: str = "web", host: str = "local", by: str = "policy") -> tuple[Action, Step]:
        target = Target.objects.create(key=f"docker:{host}/{name}", kind="docker", host=host, name=name)
        incident = an_incident(status="acting", target=target)
        an_episode(incident)
        healer = a_run(incident).steps.get(agent=Step.Agent.HEALER)
        action = services.draft(
            healer, kind=ActionKind.RESTART_CONTAINER, target=target, reason="it is down", state=engine.state
        )
        action.status, action.decided_by = Action.Status.APPROVED, by
        action.by_person = by != "policy"
        action.save()
        with transaction.atomic():
            step = services.add_step(healer.run, Step.Agent.EXECUTOR, output={"action": action.pk})
        return action, step

    return make


def status(action: Action) -> str:
    action.refresh_from_db()
    return action.status


def test_an_approved_action_is_done_once_and_its_proof_begins(engine: Engine, approved) -> None:
    action, step = approved()
    advance(step.pk)
    advance(step.pk)
    assert engine.calls == ["docker:local/web"]
    assert status(action) == Action.Status.DONE
    assert step.run.steps.get(agent=Step.Agent.PROOF).output["action"] == "done"
    assert Incident.objects.get().remediation_taken == "restart container docker:local/web"


def test_evidence_is_kept_redacted_before_the_change(engine: Engine, approved) -> None:
    _, step = approved()
    advance(step.pk)
    assert "password=[redacted]" in step.tool_calls.get(tool="evidence").output


@pytest.mark.parametrize(("happened", "ends"), [(True, Action.Status.DONE), (False, Action.Status.UNKNOWN)])
def test_a_worker_killed_while_executing_is_reconciled_and_never_repeated(
    engine: Engine, approved, monkeypatch: pytest.MonkeyPatch, happened: bool, ends: str
) -> None:
    class Killed(BaseException):
        """As kill -9: no handler of ours runs."""

    def die(action: Action) -> None:
        engine.happens = happened
        engine.restart(action)
        raise Killed

    action, step = approved()
    with monkeypatch.context() as patch:
        spec = actions.SPECS[ActionKind.RESTART_CONTAINER]
        patch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, replace(spec, run=die))
        with pytest.raises(Killed):
            advance(step.pk)
    assert status(action) == Action.Status.EXECUTING
    advance(step.pk)  # the lease still holds: nobody takes it
    assert status(action) == Action.Status.EXECUTING
    Step.objects.filter(pk=step.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    if not happened:
        advance(step.pk)  # the engine may still be at it
        assert status(action) == Action.Status.EXECUTING
        Step.objects.filter(pk=step.pk).update(due_at=timezone.now())
        Action.objects.filter(pk=action.pk).update(executing_at=timezone.now() - timedelta(minutes=1))
    advance(step.pk)
    assert status(action) == ends
    assert len(engine.calls) == 1


def due_again(step: Step) -> Step:
    Step.objects.filter(pk=step.pk).update(due_at=timezone.now())
    step.refresh_from_db()
    return step


@pytest.mark.parametrize("happened", [True, False])
def test_a_change_whose_answer_nobody_heard_is_looked_for_until_the_engine_must_be_done(
    engine: Engine, approved, happened: bool
) -> None:
    engine.fails, engine.happens = ToolError("read timed out", retryable=True, unanswered=True), False
    action, step = approved()
    advance(step.pk)
    advance(due_again(step).pk)
    assert status(action) == Action.Status.EXECUTING
    if happened:
        engine.restarts = 1
    else:
        Action.objects.filter(pk=action.pk).update(executing_at=timezone.now() - timedelta(minutes=1))
    advance(due_again(step).pk)
    assert status(action) == (Action.Status.DONE if happened else Action.Status.UNKNOWN)
    assert "read timed out" in action.result
    assert engine.calls == ["docker:local/web"]
    proof_step = step.run.steps.get(agent=Step.Agent.PROOF)
    assert proof_step.output["action"] == ("done" if happened else "unknown")
    assert proof_step.output["must_be_fresh"] == ["up"]  # what had samples before, though minutes passed


def test_an_error_that_the_engine_answers_is_a_failure_at_once(engine: Engine, approved) -> None:
    engine.fails, engine.happens = ToolError("port is already allocated", retryable=True), False
    action, step = approved()
    advance(step.pk)
    assert (status(action), action.result) == (Action.Status.FAILED, "port is already allocated")
    assert step.run.steps.get(agent=Step.Agent.PROOF).output["action"] == "failed"


def test_a_person_who_closes_the_incident_does_not_hide_what_became_of_a_change(
    engine: Engine, approved
) -> None:
    engine.fails, engine.happens = ToolError("read timed out", unanswered=True), False
    action, step = approved()
    advance(step.pk)
    services.finish_run(action.incident)
    Incident.objects.update(status="closed", verdict="resolved_by_human", closed_at=timezone.now())
    engine.restarts = 1
    stranded.settle(step.run)
    assert status(action) == Action.Status.DONE


def test_an_approval_does_not_cover_another_container_of_the_same_name(engine: Engine, approved) -> None:
    action, step = approved(by="alice")
    engine.state = replace(engine.state, identity="id-2")
    advance(step.pk)
    assert status(action) == Action.Status.WITHDRAWN
    assert "no longer what was approved" in action.result
    assert engine.calls == []


def test_counters_and_times_do_not_void_an_approval(engine: Engine, approved) -> None:
    action, step = approved(by="alice")
    engine.state = replace(engine.state, started_at="2026-01-01T09:00:00Z")
    advance(step.pk)
    assert status(action) == Action.Status.DONE


def test_limits_are_counted_at_execution_and_hold_for_people_too(engine: Engine, approved, settings) -> None:
    settings.RESTARTS_PER_HOUR, settings.COOLDOWN_SECONDS = 1, 0
    first, step = approved(by="alice")
    advance(step.pk)
    Incident.objects.update(status="closed", verdict="verified", closed_at=timezone.now())
    incident = an_incident(status="acting", target=first.target)
    an_episode(incident)
    healer = a_run(incident).steps.get(agent=Step.Agent.HEALER)
    second = services.draft(
        healer, kind=ActionKind.RESTART_CONTAINER, target=first.target, reason="again", state=engine.state
    )
    second.status, second.decided_by, second.by_person = Action.Status.APPROVED, "alice", True
    second.save()
    advance(services.add_step(healer.run, Step.Agent.EXECUTOR, output={"action": second.pk}).pk)
    assert status(second) == Action.Status.WITHDRAWN
    assert "the limit" in second.result
    assert len(engine.calls) == 1


def test_a_pause_between_approval_and_execution_holds(engine: Engine, approved) -> None:
    action, step = approved(by="alice")
    pauses.pause(scope="*", until=None, by="bob", reason="maintenance")
    advance(step.pk)
    assert status(action) == Action.Status.WITHDRAWN
    assert "paused by bob" in action.result
    assert Event.objects.filter(kind=Event.Kind.REFUSED).exists()


def test_a_fault_that_is_gone_is_not_acted_on(engine: Engine, approved, monkeypatch) -> None:
    look = judgement.Look(ExpressionState.CLEARED, "no longer true")
    monkeypatch.setattr(proof, "observe", lambda incident, progress=None: look)
    action, step = approved(by="alice")
    advance(step.pk)
    assert status(action) == Action.Status.WITHDRAWN
    assert engine.calls == []


def test_no_autonomous_action_where_no_proof_is_possible(engine: Engine, approved, monkeypatch) -> None:
    look = judgement.Look(ExpressionState.UNKNOWN, "proof unavailable")
    monkeypatch.setattr(proof, "observe", lambda incident, progress=None: look)
    action, step = approved(by="policy")
    advance(step.pk)
    assert status(action) == Action.Status.WITHDRAWN
    assert engine.calls == []


def test_one_change_at_a_time_on_a_host(engine: Engine, approved, settings) -> None:
    settings.COOLDOWN_SECONDS = 0
    busy, _ = approved("db")
    Action.objects.filter(pk=busy.pk).update(status="executing", executing_at=timezone.now())
    action, step = approved("web")
    advance(step.pk)
    step.refresh_from_db()
    assert status(action) == Action.Status.APPROVED  # it waits
    assert step.state == State.WAITING
    elsewhere, step = approved("web2", host="other")
    advance(step.pk)
    assert status(elsewhere) == Action.Status.DONE


def test_a_closed_incident_is_not_acted_on(engine: Engine, approved) -> None:
    action, step = approved()
    services.finish_run(action.incident)
    advance(step.pk)
    assert status(action) == Action.Status.WITHDRAWN
    assert engine.calls == []


def test_a_worker_that_lost_its_lease_does_nothing(engine: Engine, approved, monkeypatch) -> None:
    action, step = approved()
    mine = Step.queue.claim(step.pk)
    Step.objects.filter(pk=step.pk).update(fence=mine.fence + 1)
    with pytest.raises(RuntimeError):
        executor.execute(mine)
    assert status(action) == Action.Status.APPROVED
    assert engine.calls == []


def test_an_inspection_that_fails_does_nothing_and_says_so(engine: Engine, approved, monkeypatch) -> None:
    def away(action: Action) -> actions.TargetState:
        raise ToolError("cannot reach the engine")

    spec = actions.SPECS[ActionKind.RESTART_CONTAINER]
    monkeypatch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, replace(spec, state=away))
    action, step = approved()
    advance(step.pk)
    assert status(action) == Action.Status.WITHDRAWN
    assert "nothing was done" in action.result
