"""The test engine answers the product's own client as an engine does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from pytest_django.fixtures import Settings

from agents.tools import docker
from agents.tools.base import ToolError
from tests.e2e.process import http_session, wait_until

from .engine import Call, Engine


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    with Engine("nas", ["shop", "cart"], calls=[]) as made:
        settings.DOCKER_HOSTS = {"nas": made.url}
        yield made


def restarts(calls: list[Call]) -> int:
    return sum(call.path.endswith("/restart") for call in calls)


def test_it_lists_and_inspects_its_containers(engine: Engine) -> None:
    listing = docker.list_containers()
    assert listing.errors == {}
    assert [each.key for each in listing.containers] == ["docker:nas/shop", "docker:nas/cart"]
    state = docker.inspect_container("nas", "shop")
    assert (state.running, state.status, state.exit_code, state.finished_at) == (True, "running", None, None)


def test_a_container_that_crashes_is_seen_to_have_crashed(engine: Engine) -> None:
    engine.crash("shop", code=3)
    state = docker.inspect_container("nas", "shop")
    assert (state.running, state.status, state.exit_code) == (False, "exited", 3)
    assert docker.stopped_by("nas", "shop") == "crash"
    kept = docker.evidence("nas", "shop")
    assert [each["action"] for each in kept["events"]] == ["die"]
    assert "panic: connection pool exhausted" in kept["logs"]


def test_a_restart_is_done_logged_and_told_by_an_event(engine: Engine) -> None:
    engine.crash("shop")
    identity, before = docker.inspect_container("nas", "shop").id, docker.clock("nas")
    docker.restart("nas", "shop")
    assert docker.inspect_container("nas", "shop").running
    assert docker.happened_since("nas", "shop", event="restart", container_id=identity, since=before)
    assert restarts(engine.calls) == 1
    later = docker.clock("nas")
    assert docker.happened_since("nas", "shop", event="restart", container_id=identity, since=later) is False


def test_a_start_by_hand_is_no_restart(engine: Engine) -> None:
    engine.crash("shop")
    identity, before = docker.inspect_container("nas", "shop").id, docker.clock("nas")
    assert engine.start("shop")
    assert docker.happened_since("nas", "shop", event="restart", container_id=identity, since=before) is False
    assert restarts(engine.calls) == 0


def test_it_restarts_though_nobody_waits_for_its_answer(engine: Engine) -> None:
    engine.crash("shop")
    engine.restart_seconds = 0.5
    url = engine.url.replace("tcp://", "http://") + "/v1.47/containers/shop/restart"
    with pytest.raises(requests.Timeout):
        http_session().post(url, timeout=0.1)
    wait_until(lambda: engine.containers["shop"].running, 5, "it was not restarted")


def test_what_is_not_there_is_refused_in_the_words_of_an_engine(engine: Engine) -> None:
    with pytest.raises(ToolError, match="No such container: nothing"):
        docker.inspect_container("nas", "nothing")
