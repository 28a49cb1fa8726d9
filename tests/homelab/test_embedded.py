"""`python -m homelab.run`, for real: web, worker and beat in one process, and what kills and restarts do."""

from __future__ import annotations

import os
import pty
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.process import free_port, wait_until
from tests.homelab.program import ROOT, Program, environment

pytestmark = pytest.mark.e2e

DEAD_THREAD = """
import time, django
django.setup()
from celery.worker import state
from django.core.management import call_command
call_command("migrate", verbosity=0)
from homelab import embedded
from incidents import liveness
running = embedded.Embedded(stopping=lambda: False)
running.start()
assert liveness.dead() == [], liveness.dead()
state.should_stop = 0  # as an error that Celery does not survive
while not liveness.dead():
    time.sleep(0.1)
print(liveness.dead(), flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Program(tmp_path_factory.mktemp("program")) as running:
        yield running


def run(env: dict[str, str], code: str | None = None) -> subprocess.CompletedProcess[str]:
    what = ["-c", code] if code else ["-m", "homelab.run"]
    return subprocess.run(
        [sys.executable, *what], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )


def alert() -> dict[str, object]:
    labels = {"alertname": "Embedded", "severity": "warning"}
    one = {"status": "firing", "labels": labels, "startsAt": datetime.now(UTC).isoformat()}
    return {"version": "4", "groupKey": "embedded", "status": "firing", "alerts": [one]}


def test_the_first_run_is_kept_for_its_owner_alone(program: Program) -> None:
    file = program.data / "first-run.json"
    assert file.stat().st_mode & 0o777 == 0o600
    made = program.first_run()
    assert set(made) == {"url", "admin", "tokens"}
    assert made["url"] == program.url
    assert set(made["admin"]) == {"username", "password"}
    assert set(made["tokens"]) == {"ingest", "viewer", "operator", "admin"}


def test_what_is_secret_is_not_in_the_log(program: Program) -> None:
    made = program.first_run()
    assert not [
        word for word in (made["admin"]["password"], *made["tokens"].values()) if word in program.output()
    ]
    assert "first-run.json" in program.output()
    assert "Proof unavailable" in program.output()
    assert "Reasoning: playbooks" in program.output()


def test_health_and_tokens(program: Program) -> None:
    body = program.request("GET", "/health").json()
    assert (body["status"], body["service"]) == ("healthy", "homelab-ai-agents")
    assert program.request("GET", "/stats").status_code == 401
    assert program.request("GET", "/stats", role="ingest").status_code == 403
    assert program.request("GET", "/stats", role="viewer").status_code == 200


def test_an_alert_is_worked_on_without_any_other_server(program: Program) -> None:
    answer = program.request("POST", "/alert", role="ingest", json=alert())
    assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    (incident,) = answer.json()["incidents"]

    def begun() -> bool:
        listed = program.request("GET", "/incidents", role="viewer").json()["incidents"]
        return any(each["id"] == incident for each in listed) and _runs(program.data, incident) == 1

    wait_until(begun, 20, "the worker did not begin a run")


def _runs(data: Path, incident: int) -> int:
    with sqlite3.connect(data / "homelab.sqlite3", timeout=20) as database:
        found = database.execute("SELECT count(*) FROM agents_crewrun WHERE incident_id = ?", [incident])
        return int(found.fetchone()[0])


def test_a_second_one_on_the_same_data_is_refused(program: Program) -> None:
    done = run(environment(program.data, free_port()))
    assert done.returncode == 1
    assert "another homelab runs" in done.stderr


def test_a_taken_port_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(environment(tmp_path / "data", taken.getsockname()[1]))
    assert done.returncode == 1
    assert "PORT=" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_bad_setting_is_said_without_a_traceback(tmp_path: Path) -> None:
    done = run(environment(tmp_path / "data", free_port(), REMEDIATION_MODE="yolo"))
    assert done.returncode == 1
    assert "REMEDIATION_MODE" in done.stderr
    assert "Traceback" not in done.stderr


def test_more_processes_than_one_are_refused(tmp_path: Path) -> None:
    done = run(environment(tmp_path / "data", free_port(), WEB_CONCURRENCY="2"))
    assert (done.returncode, "WEB_CONCURRENCY" in done.stderr) == (1, True)


def test_it_stops_in_time_and_leaves_nobody_behind(tmp_path: Path) -> None:
    with Program(tmp_path) as program:
        workers = program.workers()
        code, seconds = program.stop()
        assert code == 0
        assert seconds < 15
        assert len(workers) == 1
        assert not Path(f"/proc/{workers[0]}").exists()


def test_a_plain_copy_of_the_database_of_a_stopped_one_is_whole(tmp_path: Path) -> None:
    with Program(tmp_path) as program:
        program.stop()
        wal = program.data / "homelab.sqlite3-wal"
        assert not wal.exists() or wal.stat().st_size == 0


def test_a_later_start_makes_nothing_anew(tmp_path: Path) -> None:
    with Program(tmp_path) as program:
        made = program.first_run()
        viewer = {"Authorization": f"Bearer {made['tokens']['viewer']}"}
        program.stop()
        program.start()
        assert program.first_run() == made
        program.stop()
        (program.data / "first-run.json").unlink()
        program.start()
        assert not (program.data / "first-run.json").exists()
        assert program.http.get(f"{program.url}/stats", headers=viewer, timeout=10).status_code == 200


def test_after_kill_9_another_worker_takes_up_what_was_claimed(tmp_path: Path) -> None:
    with Program(tmp_path) as program:
        wait_until(lambda: _job(program.data)[0] == "waiting", 20, "the check did not run")
        (worker,) = program.workers()
        _claim(program.data)
        os.kill(worker, signal.SIGKILL)
        wait_until(
            lambda: program.workers() not in ([], [worker]) and program.is_healthy(), 20, "nobody serves"
        )
        # Its lease would have kept it for minutes.
        wait_until(lambda: _job(program.data) == ("waiting", 0), 20, "the claimed row was not taken up")


def _job(data: Path) -> tuple[str, int]:
    with sqlite3.connect(data / "homelab.sqlite3", timeout=20) as database:
        query = "SELECT state, attempts FROM incidents_job WHERE name = 'health_check' AND fence > 0"
        found: tuple[str, int] = database.execute(query).fetchone() or ("", 0)
        return found


def _claim(data: Path) -> None:
    lease = (datetime.now(UTC) + timedelta(minutes=3)).isoformat(" ").removesuffix("+00:00")
    with sqlite3.connect(data / "homelab.sqlite3", timeout=20) as database:
        change = "UPDATE incidents_job SET state = 'running', attempts = 1, lease_until = ?"
        database.execute(f"{change} WHERE name = 'health_check'", [lease])


def test_a_dead_thread_is_seen_and_ends_the_process(tmp_path: Path) -> None:
    variables = {"DJANGO_SETTINGS_MODULE": "homelab.settings"}
    done = run(environment(tmp_path, free_port(), **variables), DEAD_THREAD)
    assert done.stdout.strip() == "['worker']", done.stderr
    assert done.returncode == os.EX_SOFTWARE


def test_a_terminal_is_told_the_secrets(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    env = environment(tmp_path / "data", free_port(), DJANGO_SETTINGS_MODULE="homelab.settings")
    code = (
        "import django; django.setup(); from django.core.management import call_command as call;"
        "call('migrate', verbosity=0); call('prepare')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, stdout=theirs, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert shown.count("hl_") == 6, "four tokens, one in the receiver, one in the test alert"
