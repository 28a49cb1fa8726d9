"""The executor and what happens while it works: the owner's hand wins, and nothing is done twice."""

from __future__ import annotations

import random
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from agents import actions, answers, executor, judgement, policy, proof, reasoners, services, stranded
from agents.advance import advance
from agents.models import Action, ActionKind, CrewRun, Step
from agents.reading import ExpressionState
from agents.rules import Decision
from agents.tools import docker, docker_changes
from agents.tools.base import ToolError
from agents.tools.docker_engine import EngineEvent
from incidents import queue
from incidents import services as incident_services
from incidents.models import Incident, Target, Verdict
from incidents.queue import State
from tests.agents.rows import a_run
from tests.agents.test_executor import RUNNING, Engine, approved, engine, status
from tests.incidents.rows import a_target, an_episode, an_incident

__all__ = ["approved", "engine"]
pytestmark = pytest.mark.django_db
FIRING = judgement.Look(ExpressionState.FIRING, "the expression is true")
STOPPED = replace(RUNNING, status_class="stopped", stopped_by="person", stopped_at="2026-01-01T01:00:00Z")


class Killed(BaseException):
    """As kill -9: no handler of ours runs."""


def swap(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    spec = replace(actions.SPECS[ActionKind.RESTART_CONTAINER], **fields)
    monkeypatch.setitem(actions.SPECS, ActionKind.RESTART_CONTAINER, spec)


# --- closed incidents ----------------------------------------------------------------------------


def test_a_closed_incident_is_left_alone_though_its_action_is_still_approved(
    engine: Engine, approved
) -> None:
    action, step = approved(by="alice")
    Incident.objects.update(status="closed", verdict="false_alarm", closed_at=timezone.now())
    advance(step.pk)
    assert engine.calls == []
    assert status(action) == Action.Status.WITHDRAWN


def test_an_incident_closed_while_the_healer_proposes_gets_no_action(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = a_target()
    incident = an_incident(target=target)
    an_episode(incident)
    step = services.add_step(CrewRun.objects.create(incident=incident), Step.Agent.HEALER, focus=target)
    answer = answers.Remediation(action="restart_container", target=target.key, reason="down")
    monkeypatch.setattr(reasoners, "think", lambda *args: answer)
    propose = services.propose

    def close_first(action: Action, decision: Decision) -> Action:
        now = Incident.objects.get(pk=incident.pk)
        incident_services.close(now, Verdict.FALSE_ALARM, actor="robin", note="")
        return propose(action, decision)

    monkeypatch.setattr(services, "propose", close_first)
    advance(step.pk)
    assert not Action.objects.exists()
    assert not Step.objects.filter(agent=Step.Agent.EXECUTOR).exists()


# --- what is read, and when ------------------------------------------------------------------------


def test_what_a_person_stops_while_the_proof_reads_is_not_started(
    engine: Engine, approved, monkeypatch: pytest.MonkeyPatch
) -> None:
    def observe(incident: Incident, target: Target) -> judgement.Look:
        engine.state = STOPPED
        return FIRING

    monkeypatch.setattr(proof, "observe_target", observe)
    _, step = approved()
    advance(step.pk)
    assert engine.calls == []


def test_a_paused_container_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Any = SimpleNamespace(
        running=True, status="paused", id="i", image_id="m", labels={}, finished_at=None, started_at="x"
    )
    monkeypatch.setattr(docker, "inspect_container", lambda host, name: seen)
    assert actions.container_state(a_target()).status_class == "paused"


def test_an_alert_of_another_target_allows_nothing(engine: Engine) -> None:
    quiet, firing = a_target("a"), a_target("b")
    incident = an_incident(status="proving", target=quiet)
    an_episode(incident, target=firing)
    healer = a_run(incident).steps.get(agent=Step.Agent.HEALER)
    for target, effect in ((quiet, "refuse"), (firing, "allow")):
        action = services.draft(
            healer, kind=ActionKind.RESTART_CONTAINER, target=target, reason="", state=RUNNING
        )
        decision = policy.authorize(
            action, state=RUNNING, fault=ExpressionState.FIRING, fault_reason="", approved=False
        )
        assert decision.effect == effect


@pytest.mark.parametrize("by", ["alice", "policy"])
def test_a_yes_of_long_ago_is_no_yes(engine: Engine, approved, by: str) -> None:
    action, step = approved(by=by)
    Action.objects.update(decided_at=timezone.now() - timedelta(days=3))
    advance(step.pk)
    assert engine.calls == []
    assert "too long" in Action.objects.get(pk=action.pk).result


def test_a_person_may_be_called_policy(engine: Engine, approved, settings) -> None:
    settings.REMEDIATION_MODE = "approve"
    action, step = approved(by="policy")
    Action.objects.update(by_person=True)
    advance(step.pk)
    assert status(action) == Action.Status.DONE


def test_a_worker_frozen_after_its_commit_does_not_call(
    engine: Engine, approved, monkeypatch: pytest.MonkeyPatch
) -> None:
    action, step = approved()
    begin = executor._begin

    def freeze(*args: Any) -> Decision | None:
        decision = begin(*args)
        Step.objects.filter(pk=step.pk).update(fence=99)  # given up, and taken over
        return decision

    monkeypatch.setattr(executor, "_begin", freeze)
    with pytest.raises(queue.LeaseLost):
        advance(step.pk)
    assert engine.calls == []
    assert status(action) == Action.Status.EXECUTING


def test_what_was_not_begun_is_not_judged(engine: Engine, approved, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(target: Target) -> dict[str, Any]:
        raise ToolError("the engine is away")

    swap(monkeypatch, evidence=away)
    action, step = approved()
    advance(step.pk)
    mine = action.incident.episodes.values_list("pk", flat=True)
    services.settle_outcomes(action.incident, firing=mine, cleared=())
    assert status(action) == Action.Status.WITHDRAWN
    assert action.helped is None
    assert proof.begun(step.run) == "none"
    assert Step.objects.get(agent=Step.Agent.PROOF).output["action"] == "none"


def test_rows_without_a_beginning_never_trip_the_breaker() -> None:
    for helped, at in ((False, None), (False, None), (True, timezone.now())):
        incident = an_incident(status="proving")
        healer = a_run(incident).steps.get(agent=Step.Agent.HEALER)
        target = Target.objects.first() or a_target()
        action = services.draft(
            healer, kind=ActionKind.RESTART_CONTAINER, target=target, reason="", state=RUNNING
        )
        action.status, action.helped, action.executing_at = Action.Status.FAILED, helped, at
        action.save()
    assert [each.helped for each in Action.objects.outcomes()] == [True]


# --- the engine -------------------------------------------------------------------------------------


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An engine with one container, started at 200 by its clock; it is 300 now."""
    attributes = {"Id": "c1", "State": {"StartedAt": "1970-01-01T00:03:20Z"}, "Config": {"StopTimeout": None}}
    fake = SimpleNamespace(attributes=attributes, events=[], timeouts=[])
    fake.restart = lambda container, timeout: fake.timeouts.append(timeout)

    @contextmanager
    def engine(host: str) -> Any:
        yield fake

    def events_of(client: Any, container_id: str, *, since: float, until: float) -> list[EngineEvent]:
        return [EngineEvent(at, name, None, None) for at, name in fake.events if since <= at <= until]

    monkeypatch.setattr(docker_changes, "engine", engine)
    monkeypatch.setattr(docker_changes, "inspect", lambda client, name: fake.attributes)
    monkeypatch.setattr(docker_changes, "engine_now", lambda client: 300.0)
    monkeypatch.setattr(docker_changes, "events_of", events_of)
    return fake


@pytest.mark.parametrize(
    ("events", "since", "expected"),
    [
        ([(199, "die"), (200, "start"), (200.1, "restart")], 150, True),
        ([(199, "die"), (200, "start")], 150, False),  # its restart policy, or a person's start
        ([], 150, None),  # it did start again; the engine has forgotten how
        ([], 250, False),  # it did not
        ([(100, "restart"), (200, "start")], 150, False),  # an earlier one
    ],
)
def test_only_the_engines_event_says_that_it_was_restarted(
    client: SimpleNamespace, events: list[tuple[float, str]], since: float, expected: bool | None
) -> None:
    client.events = events
    assert docker.happened_since("h", "web", event="restart", container_id="c1", since=since) is expected


def test_another_container_of_the_name_says_nothing(client: SimpleNamespace) -> None:
    assert docker.happened_since("h", "web", event="restart", container_id="c0", since=250) is None


@pytest.mark.parametrize(("own", "given"), [(None, 10), (0, 0), (90, 90), (600, 120), (-1, 120)])
def test_a_container_gets_its_own_time_to_stop(client: SimpleNamespace, own: int | None, given: int) -> None:
    client.attributes["Config"]["StopTimeout"] = own
    docker.restart("h", "db")
    assert client.timeouts == [given]
    assert docker.restart_seconds("h", "db") > given


def test_a_crash_loops_own_start_is_not_our_restart(
    engine: Engine, approved, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(target: Target) -> None:
        engine.state = replace(engine.state, started_at="2026-05-05T00:00:00Z")
        raise ToolError("connection refused")

    swap(monkeypatch, run=refuse)
    action, step = approved()
    advance(step.pk)
    assert status(action) == Action.Status.FAILED
    assert Incident.objects.get().remediation_taken is None


# --- whatever happens -------------------------------------------------------------------------------


def _die_in_the_call(engine: Engine, monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> None:
    before = rng.random() < 0.5

    def run(action: Action) -> None:
        if not before:
            engine.restart(action)
        raise Killed

    swap(monkeypatch, run=run)


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_nothing_is_done_twice_or_after_the_end(
    engine: Engine, approved, monkeypatch: pytest.MonkeyPatch, settings, seed: int
) -> None:
    rng = random.Random(seed)
    settings.COOLDOWN_SECONDS = 0
    _, step = approved(by=rng.choice(["alice", "policy"]))
    closed_after: int | None = None
    for _ in range(12):
        match rng.choice(["advance", "advance", "kill", "lease", "close", "retry", "old", "dead"]):
            case "advance":
                Step.objects.filter(pk=step.pk).update(due_at=timezone.now())
                with monkeypatch.context() as patch:
                    swap(patch, run=engine.restart)
                    advance(step.pk)
            case "kill":
                with monkeypatch.context() as patch:
                    _die_in_the_call(engine, patch, rng)
                    with suppress(Killed):
                        advance(step.pk)
            case "lease":
                Step.objects.filter(pk=step.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
            case "close":
                incident = Incident.objects.get()
                if incident.status != "closed":
                    incident_services.close(incident, Verdict.FALSE_ALARM, actor="robin", note="")
                    closed_after = len(engine.calls)
            case "retry":
                queue.retry(Step.objects.get(pk=step.pk))
            case "old":
                Action.objects.filter(executing_at__isnull=False).update(
                    executing_at=timezone.now() - timedelta(minutes=10)
                )
            case "dead":
                Step.objects.filter(pk=step.pk, state=State.RUNNING).update(state=State.DEAD)
                stranded.settle(step.run)
        assert len(engine.calls) <= 1
        assert closed_after is None or len(engine.calls) == closed_after
