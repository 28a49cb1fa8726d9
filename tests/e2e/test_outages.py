"""Production mode, for real: PostgreSQL, Valkey, two web processes, prefork workers, a beat. Each of what it
stands on goes away once; nothing that was accepted is lost, and nobody is told twice.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .process import wait_until
from .stage import Stage, set_up

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with set_up(tmp_path_factory.mktemp("fleet")) as made:
        yield made


def test_an_alert_becomes_a_diagnosis_and_a_verdict_in_production_mode(stage: Stage) -> None:
    began = time.monotonic()
    pk = stage.open("Whole")
    stage.wait_diagnosed(pk)
    print(f"diagnosed after {time.monotonic() - began:.2f} s")
    wait_until(lambda: stage.chat.about("Whole"), 10, "nobody is told that it opened")
    stage.close(pk)
    wait_until(lambda: len(stage.chat.about("Whole")) == 2, 10, "nobody is told how it ended")
    assert "resolved by a person" in stage.chat.about("Whole")[1]
    synced = "incidents_memoryentry WHERE incident_id = %s AND synced_at IS NOT NULL"
    wait_until(lambda: stage.count(synced, pk), 10, "it is not remembered")


def test_without_its_broker_it_accepts_at_once_and_works_afterwards(stage: Stage) -> None:
    stage.valkey.kill()
    stage.broker.set("cut")
    answers = [stage.post(f"NoBroker{number}", f"Beside{number}") for number in range(10)]
    assert {status for status, _, _ in answers} == {200}
    slowest = max(seconds for _, seconds, _ in answers)
    print(f"slowest without a broker {slowest:.3f} s")
    assert slowest < 1.0
    stage.valkey.start()
    stage.broker.set("passing")
    began = time.monotonic()
    for _, _, incidents in answers:
        for pk in incidents:
            stage.wait_diagnosed(pk)
    print(f"all worked {time.monotonic() - began:.1f} s after it came back")
    said = [line for line in stage.fleet.output().splitlines() if '"broker: ' in line and "WARNING" in line]
    assert len(said) <= 2, "each web process says it once a minute"


def test_without_its_database_it_answers_503_and_keeps_nothing_by_half(stage: Stage) -> None:
    stage.database.set("cut")
    refused = [stage.post(f"Refused{number}") for number in range(6)]
    assert {status for status, _, _ in refused} == {503}
    assert max(seconds for _, seconds, _ in refused) < 5
    assert stage.fleet.request("GET", "/health").status_code == 503
    stage.database.set("passing")
    accepted = [stage.open(f"Accepted{number}") for number in range(6)]
    for pk in accepted:
        stage.wait_diagnosed(pk)
    named = "{} WHERE alert_name LIKE %s"
    assert stage.count(named.format("incidents_incident"), "Refused%") == 0
    assert stage.count(named.format("incidents_episode"), "Refused%") == 0
    assert stage.count(named.format("incidents_incident"), "Accepted%") == 6
    # what Alertmanager does after a 503
    assert {stage.post(f"Refused{number}")[0] for number in range(6)} == {200}
    assert stage.count(named.format("incidents_incident"), "Refused%") == 6


def test_with_a_silent_database_it_answers_503_in_bounded_time_and_recovers(stage: Stage) -> None:
    stage.post("Warm")  # connections are open, and the server stops in the middle of their use
    stage.database.set("stalled")
    refused = [stage.post(f"Silent{number}") for number in range(3)]
    assert {status for status, _, _ in refused} == {503}
    began = time.monotonic()
    assert stage.fleet.request("GET", "/health").status_code == 503
    slowest = max(*(seconds for _, seconds, _ in refused), time.monotonic() - began)
    print(f"slowest beside a silent database {slowest:.2f} s")
    assert slowest < 8, "a statement has 2 s, and so has the connect after it"
    stage.database.set("passing")
    began = time.monotonic()
    stage.wait_diagnosed(stage.open_again("Silent0"))
    print(f"diagnosed {time.monotonic() - began:.1f} s after it came back")
    for table in ("incidents_incident", "incidents_episode"):
        assert stage.count(f"{table} WHERE alert_name LIKE 'Silent%%'") == 1, table


def processes(stage: Stage) -> list[int]:
    """Of the web and of the worker; they stay the same unless one died."""
    return sorted([*stage.fleet.workers(), stage.fleet.pid("worker"), *stage.fleet.children("worker")])


def test_with_a_broker_that_talks_nonsense_it_accepts_and_works_afterwards(stage: Stage) -> None:
    before, so_far = processes(stage), stage.broker.damaged
    stage.broker.set("corrupt")
    answers = [stage.post(f"Nonsense{number}") for number in range(6)]
    assert {status for status, _, _ in answers} == {200}
    wait_until(lambda: stage.broker.damaged > so_far + 20, 20, "nobody listened to it")
    stage.broker.set("passing")
    began = time.monotonic()
    for _, _, incidents in answers:
        stage.wait_diagnosed(incidents[0])
    print(f"all worked {time.monotonic() - began:.1f} s after it talked sense again")
    assert processes(stage) == before


def test_with_damaged_answers_of_the_database_nothing_is_lost_or_kept_by_half(stage: Stage) -> None:
    before = processes(stage)
    names: list[str] = []
    answers: list[Any] = []
    stage.database.set("corrupt")
    while len(names) < 12 or all(status == 200 for status, _, _ in answers):
        assert len(names) < 60, "no damage was noticed"
        names.append(f"Damaged{len(names)}")
        stage.database.seed = len(names)
        answers.append(stage.post(names[-1]))
    print("beside a damaged database:", [status for status, _, _ in answers])
    stage.database.set("passing")
    assert {status for status, _, _ in answers} <= {200, 500, 503}, "the sender repeats what is 5xx, no other"
    assert max(seconds for _, seconds, _ in answers) < 8
    mine = "incidents_incident incident WHERE alert_name LIKE 'Damaged%%'"
    episode = "(SELECT 1 FROM incidents_episode WHERE incident_id = incident.id)"
    assert stage.count(f"{mine} AND NOT EXISTS {episode}") == 0
    for status, _, incidents in answers:
        assert status != 200 or stage.count("incidents_incident WHERE id = %s", incidents[0]) == 1
    for name in names:
        stage.wait_diagnosed(stage.open_again(name))
    assert stage.count(mine) == len(names)
    assert processes(stage) == before


def test_without_qdrant_rows_wait_and_drain(stage: Stage) -> None:
    stage.qdrant.down = True
    incidents = [stage.open(f"NoMemory{number}") for number in range(3)]
    for pk in incidents:
        stage.close(pk, "false_alarm")
    mine = "incidents_memoryentry WHERE incident_id = ANY(%s)"
    failed = f"{mine} AND state = 'waiting' AND error <> ''"
    wait_until(lambda: stage.count(failed, incidents) == 3, 20, "they were not tried", 0.1)
    assert stage.fleet.request("GET", "/health").json()["status"] == "degraded"
    stage.qdrant.down = False
    began = time.monotonic()
    synced = f"{mine} AND synced_at IS NOT NULL"
    wait_until(lambda: stage.count(synced, incidents) == 3, 30, "they did not drain", 0.1)
    print(f"drained {time.monotonic() - began:.1f} s after it came back")
    assert stage.fleet.request("GET", "/health").json()["status"] == "healthy"


def test_without_chat_messages_wait_and_come_once_and_in_order(stage: Stage) -> None:
    stage.chat.awake = False
    incidents = [stage.open(f"NoChat{number}x") for number in range(3)]
    for pk in incidents:
        stage.wait_diagnosed(pk)
    failed = "incidents_notification WHERE incident_id = ANY(%s) AND state = 'waiting' AND error <> ''"
    wait_until(lambda: stage.count(failed, incidents) == 3, 20, "they were not tried", 0.1)
    for pk in incidents:
        stage.close(pk)
    stage.chat.awake = True
    began = time.monotonic()
    waiting = "incidents_notification WHERE incident_id = ANY(%s) AND state IN ('waiting', 'running')"
    wait_until(lambda: stage.count(waiting, incidents) == 0, 60, "they did not drain", 0.1)
    print(f"told {time.monotonic() - began:.1f} s after it came back")
    for number in range(3):
        titles = stage.chat.about(f"NoChat{number}x")
        assert len(titles) == len(set(titles)), "each once"
        assert "resolved by a person" in titles[-1]


def test_a_worker_that_is_told_to_end_gives_back_what_it_holds(stage: Stage) -> None:
    stage.chat.hung.set()
    tried = stage.chat.tried
    pk = stage.open("Drained")
    wait_until(lambda: stage.chat.tried > tried, 20, "it was not tried")
    row = "SELECT state, lost_leases FROM incidents_notification WHERE incident_id = %s AND fence > 0"
    assert stage.rows(row, pk) == [("running", 0)]
    os.killpg(stage.fleet.pid("worker"), signal.SIGTERM)  # as systemd does: to everybody in the unit
    wait_until(lambda: stage.rows(row, pk) == [("waiting", 0)], 10, "it was not given back", 0.05)
    stage.chat.hung.clear()
    stage.fleet.restart_part("worker")
    wait_until(lambda: stage.rows(row, pk) == [("done", 0)], 20, "it was not taken up", 0.1)


def test_nothing_is_stuck_afterwards(stage: Stage) -> None:
    assert stage.count("incidents_incident WHERE alert_name = 'HomelabWorkStuck'") == 0
    for table in ("agents_step", "incidents_notification", "incidents_memoryentry", "incidents_job"):
        assert stage.count(f"{table} WHERE state = 'dead'") == 0, table
