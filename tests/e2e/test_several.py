"""Several of each, for real: two web processes, two workers, two beats. Any of them may be killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.agents.fake_prometheus import FakePrometheus, serving

from .otlp import Receiver
from .process import wait_until
from .proxy import Proxy
from .stage import Stage, set_up

pytestmark = pytest.mark.e2e
CHECK_SECONDS = 5
WATCHED_SECONDS = 6.0


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Proxy]:
    """That the crew asks, and that may take its time."""
    with serving(FakePrometheus(paths={"rules": {"groups": []}})) as fake, Proxy(fake.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Of their spans."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, prometheus: Proxy, receiver: Receiver) -> Iterator[Stage]:
    variables = {
        "HEALTH_CHECK_SECONDS": str(CHECK_SECONDS),
        "PROMETHEUS_URL": prometheus.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
    }
    with set_up(tmp_path_factory.mktemp("several"), **variables) as made:
        made.fleet.start_part("worker2", "beat2")
        yield made


def swept_at(stage: Stage) -> datetime:
    """Until when the last sweep has its turn: another value is another sweep."""
    until: datetime = stage.rows("SELECT until FROM incidents_turn WHERE name = 'sweep_records'")[0][0]
    return until


def checks(stage: Stage) -> int:
    """How often the health check was begun; once when it never was."""
    return stage.count("incidents_job WHERE name = 'health_check'") and int(
        stage.rows("SELECT fence FROM incidents_job WHERE name = 'health_check'")[0][0]
    )


def wait_for_work(stage: Stage, name: str) -> None:
    """Sweeps, scheduled work and the crew go on."""
    swept, checked = swept_at(stage), checks(stage)
    stage.wait_diagnosed(stage.open(name))
    wait_until(lambda: swept_at(stage) > swept, 10, "nobody sweeps")
    wait_until(lambda: checks(stage) > checked, 3 * CHECK_SECONDS, "scheduled work is not done", 0.1)


def test_two_beats_sweep_and_check_as_often_as_one(stage: Stage) -> None:
    wait_until(lambda: checks(stage) > 0, 30, "there was no health check")
    checked, ends = checks(stage), time.monotonic() + WATCHED_SECONDS
    sweeps = set()
    while time.monotonic() < ends:
        sweeps.add(swept_at(stage))
        time.sleep(0.05)
    assert 2 <= len(sweeps) <= WATCHED_SECONDS + 2, "one a second, whoever does it"
    assert checks(stage) - checked <= WATCHED_SECONDS // CHECK_SECONDS + 1


def test_a_beat_that_is_killed_is_not_missed(stage: Stage) -> None:
    stage.fleet.kill_part("beat")
    wait_for_work(stage, "OneBeat")


def test_the_only_beat_is_killed_and_comes_back(stage: Stage) -> None:
    stage.fleet.kill_part("beat")
    stage.fleet.kill_part("beat2")
    stage.fleet.restart_part("beat")
    wait_for_work(stage, "BeatAgain")


def test_a_web_process_that_is_killed_is_replaced_and_the_other_answers(stage: Stage) -> None:
    before = stage.fleet.workers()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    stage.fleet.http.close()  # its connections may have been to the one that is gone
    assert stage.fleet.request("GET", "/health").status_code == 200
    pk = stage.open("OneWeb")
    stage.wait_diagnosed(pk)
    wait_until(lambda: len(set(stage.fleet.workers()) - {before[0]}) == 2, 20, "it is not replaced")
    assert before[1] in stage.fleet.workers()


def test_without_any_web_the_work_goes_on_and_is_shown_afterwards(stage: Stage) -> None:
    pk = stage.open("NoWeb")
    stage.fleet.kill_part("web")
    diagnosed = "incidents_incident WHERE id = %s AND root_cause <> ''"
    wait_until(lambda: stage.count(diagnosed, pk) == 1, 20, "it is not diagnosed", 0.1)
    stage.fleet.restart_part("web")
    assert stage.incident(pk)["root_cause"]


def test_a_worker_that_drains_gives_the_run_to_another_between_two_steps(
    stage: Stage, prometheus: Proxy
) -> None:
    """The other one sleeps until the first has begun; a hint that it sleeps on is repeated after 10 s."""
    os.killpg(stage.fleet.pid("worker2"), signal.SIGSTOP)
    prometheus.set("stalled")
    pk = stage.open("Handed")
    steps = "agents_step step JOIN agents_crewrun run ON run.id = step.run_id WHERE run.incident_id = %s"
    running = f"{steps} AND step.state = 'running'"
    wait_until(lambda: stage.count(running, pk) == 1, 25, "nobody looks at it")
    os.kill(stage.fleet.pid("worker"), signal.SIGTERM)
    os.killpg(stage.fleet.pid("worker2"), signal.SIGCONT)
    assert stage.count(running, pk) == 1, "it was to be in the middle of its step"
    prometheus.set("passing")
    stage.fleet.stop_part("worker")
    stage.wait_diagnosed(pk, 10)  # a lease would take 15 s to be over
    begun = f"SELECT step.agent, step.fence, step.attempts FROM {steps} AND step.state = 'done'"
    assert {row[1:] for row in stage.rows(begun, pk)} == {(1, 0)}, "each by one worker, at its first try"


def test_they_write_one_trace_and_send_what_they_have_when_they_end(stage: Stage, receiver: Receiver) -> None:
    """The last one: nothing of the fleet is left."""
    pk = stage.open("Traced")
    stage.wait_diagnosed(pk)
    wait_until(lambda: stage.chat.about("Traced"), 30, "nobody is told")
    trace = stage.incident(pk)["trace_id"]
    stage.fleet.stop_part("worker2")
    stage.fleet.stop()
    print(receiver.tree(trace))
    assert receiver.is_whole(trace)
    by_name = {span.name: span for span in receiver.of(trace)}
    assert {"POST /alert", "process crew", "invoke_agent analyst", "notify opened"} <= by_name.keys()
    web, worker = (by_name[name].service["process.pid"] for name in ("POST /alert", "invoke_agent analyst"))
    assert web != worker
