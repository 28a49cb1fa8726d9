"""Start and stop of a container: done once by the executor, reconciled after a crash, told before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from agents import actions, judgement, proof, services
from agents.advance import advance
from agents.kinds import ActionKind
from agents.models import Action, Step
from agents.reading import ExpressionState
from agents.tools import docker
from agents.tools.base import ToolError
from incidents.models import Event, Incident, Target
from tests.agents.rows import a_run
from tests.e2e.require import require
from tests.e2e.servers import Docker, free_port
from tests.incidents.rows import an_episode, an_incident
from tests.storm.engine import Engine

pytestmark = pytest.mark.django_db
START, STOP = ActionKind.START_CONTAINER, ActionKind.STOP_CONTAINER
Make = Callable[[ActionKind], tuple[Action, Step]]


class Killed(BaseException):
    """As kill -9: no handler of ours runs."""


@pytest.fixture
def engine(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    look = judgement.Look(ExpressionState.FIRING, "the expression is true")
    monkeypatch.setattr(proof, "observe", lambda incident, progress=None: look)
    monkeypatch.setattr(proof, "observe_target", lambda incident, target: look)
    settings.REMEDIATION_MODE = "auto"
    with Engine("nas", ["shop", "cart", "tunnel"], calls=[]) as made:
        settings.DOCKER_HOSTS = {"nas": made.url}
        yield made


@pytest.fixture
def approved() -> Make:
    """A person's approved action on `docker:nas/shop`, and its executor's step."""

    def make(kind: ActionKind) -> tuple[Action, Step]:
        target = Target.objects.create(key="docker:nas/shop", kind="docker", host="nas", name="shop")
        incident = an_incident(status="acting", target=target)
        an_episode(incident)
        healer = a_run(incident).steps.get(agent=Step.Agent.HEALER)
        wish = Action(kind=kind, target=target, incident=incident)
        action = services.draft(
            healer, kind=kind, target=target, reason="", state=actions.spec_of(wish).state(wish)
        )
        action.status, action.decided_by, action.by_person = Action.Status.APPROVED, "alice", True
        action.save()
        with transaction.atomic():
            return action, services.add_step(healer.run, Step.Agent.EXECUTOR, output={"action": action.pk})

    return make


def status(action: Action) -> str:
    action.refresh_from_db()
    return action.status


def changes(engine: Engine) -> list[str]:
    return [call.path.rpartition("/")[2] for call in engine.calls if call.method == "POST"]


def test_what_crashed_is_started_once(engine: Engine, approved: Make) -> None:
    engine.crash("shop")
    action, step = approved(START)
    advance(step.pk)
    advance(step.pk)
    assert (status(action), changes(engine)) == (Action.Status.DONE, ["start"])
    assert docker.inspect_container("nas", "shop").running
    assert Incident.objects.get().remediation_taken == "start container docker:nas/shop"


def test_a_stop_is_done_once(engine: Engine, approved: Make) -> None:
    action, step = approved(STOP)
    advance(step.pk)
    assert (status(action), changes(engine)) == (Action.Status.DONE, ["stop"])
    assert docker.stopped_by("nas", "shop") == "person"  # so nothing starts it without asking


@pytest.mark.parametrize("kind", [START, STOP])
def test_what_would_change_nothing_by_now_is_not_done(engine: Engine, approved: Make, kind: str) -> None:
    if kind == START:
        engine.crash("shop")
    action, step = approved(ActionKind(kind))
    # the same state class is needed for the approval to hold, so it is changed before the proposal's own
    (engine.start if kind == START else engine.stop)("shop")
    advance(step.pk)
    assert (status(action), changes(engine)) == (Action.Status.WITHDRAWN, [])
    event = Event.objects.get(kind=Event.Kind.REFUSED)
    assert [each["code"] for each in event.data["reasons"]] == ["changed"]


@pytest.mark.parametrize("kind", [START, STOP])
@pytest.mark.parametrize("happened", [True, False])
def test_a_worker_killed_in_the_call_is_reconciled_by_the_engines_event(
    engine: Engine, approved: Make, monkeypatch: pytest.MonkeyPatch, kind: str, happened: bool
) -> None:
    if kind == START:
        engine.crash("shop")
    action, step = approved(ActionKind(kind))
    spec = actions.SPECS[kind]

    def die(action: Action) -> None:
        if happened:
            spec.run(action)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setitem(actions.SPECS, kind, replace(spec, run=die))
        with pytest.raises(Killed):
            advance(step.pk)
    made = changes(engine)
    long_ago = timezone.now() - timedelta(minutes=10)
    Action.objects.filter(pk=action.pk).update(executing_at=long_ago)
    Step.objects.filter(pk=step.pk).update(lease_until=long_ago)
    advance(step.pk)
    assert status(action) == (Action.Status.DONE if happened else Action.Status.UNKNOWN)
    assert changes(engine) == made


def test_a_crash_is_no_sign_of_our_stop(engine: Engine) -> None:
    identity, since = docker.inspect_container("nas", "shop").id, docker.clock("nas")
    engine.crash("shop")
    seen = docker.happened_since("nas", "shop", event="stop", container_id=identity, since=since)
    assert seen is False


def test_the_dry_run_names_who_needs_it(engine: Engine) -> None:
    project = {"com.docker.compose.project": "home"}
    engine.containers["shop"].labels = {**project, "com.docker.compose.service": "db"}
    needs = {"com.docker.compose.depends_on": "cache:service_started:false,db:service_healthy:true"}
    engine.containers["cart"].labels = {**project, **needs}
    engine.containers["tunnel"].network_mode = f"container:{engine.containers['shop'].id}"
    target = Target(key="docker:nas/shop", kind="docker", host="nas", name="shop")
    said = {kind: actions.dry_run(Action(kind=kind, target=target)) for kind in (START, STOP)}
    assert said[START] == (
        "starts docker:nas/shop; its volumes and its image stay, and nothing else is touched"
    )
    assert "docker:nas/cart (depends on it) must do without it" in said[STOP]
    assert "docker:nas/tunnel (uses its network) loses it" in said[STOP]
    assert changes(engine) == []


def test_containers_of_another_project_need_nothing_of_it(engine: Engine) -> None:
    engine.containers["shop"].labels = {
        "com.docker.compose.project": "home",
        "com.docker.compose.service": "db",
    }
    engine.containers["cart"].labels = {
        "com.docker.compose.project": "work",
        "com.docker.compose.depends_on": "db:service_started:false",
    }
    assert docker.dependents("nas", "shop") == docker.Dependents((), ())


def test_a_dry_run_that_cannot_be_read_says_so() -> None:
    target = Target(key="docker:moon/shop", kind="docker", host="moon", name="shop")
    said = actions.dry_run(Action(kind=STOP, target=target))
    assert said.startswith("touches docker:moon/shop, and what else cannot be read: no Docker host")


@pytest.mark.e2e
def test_a_real_engine_starts_and_stops_and_tells_of_it(tmp_path: Any, settings: Any) -> None:
    require("docker")
    with Docker(tmp_path) as server:
        settings.DOCKER_HOSTS = {"nas": server.url}
        container = server.run_web("web", free_port())
        since = docker.clock("nas")
        docker.stop("nas", "web")
        assert not docker.inspect_container("nas", "web").running
        assert docker.stopped_by("nas", "web") == "person"
        docker.start("nas", "web")
        assert docker.inspect_container("nas", "web").running
        for event in ("stop", "start"):
            seen = docker.happened_since(
                "nas", "web", event=event, container_id=str(container.id), since=since
            )
            assert seen is True
        later = docker.clock("nas")
        seen = docker.happened_since("nas", "web", event="stop", container_id=str(container.id), since=later)
        assert seen is False
        with pytest.raises(ToolError, match="No such container"):
            docker.start("nas", "nobody")
