"""`make demo` beside the whole program: real with Docker and Alertmanager, simulated without them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.homelab.program import ROOT, Program

from .process import wait_until
from .require import require
from .servers import Alertmanager, Docker

pytestmark = pytest.mark.e2e
COMMAND = (sys.executable, "-m", "homelab.demo")
FAST = {"PROOF_HOLD_SECONDS": "2"}


def demo(program: Program, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=program.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
    )
    print(done.stdout, done.stderr, sep="\n")
    return done


def newest(program: Program) -> dict[str, Any]:
    listed = program.request("GET", "/incidents?limit=1", role="viewer").json()["incidents"]
    found: dict[str, Any] = program.request(
        "GET", f"/api/v1/incidents/{listed[0]['id']}", role="viewer"
    ).json()
    return found


def containers(engine: Docker) -> list[str]:
    found = engine.client.containers.list(all=True, filters={"label": "homelab.demo=true"})
    return [str(each.name) for each in found]


def has_ended(program: Program) -> bool:
    return all(episode["ends_at"] for episode in newest(program)["episodes"])


def test_without_docker_it_simulates_and_claims_nothing(tmp_path: Path) -> None:
    with Program(tmp_path, **FAST) as program:
        done = demo(program)
        assert (done.returncode, done.stderr) == (0, "")
        lines = [line for line in done.stdout.splitlines() if line]
        assert all(line.startswith("SIMULATED  ") for line in lines)
        assert "verified" not in done.stdout.lower()
        assert "\x1b" not in done.stdout
        assert "CONFIRMED: Nothing listens at 127.0.0.1:" in done.stdout
        assert "“result: refused”" in done.stdout
        incident = newest(program)
        assert (incident["verdict"], incident["human_note"]) == ("false_alarm", "SIMULATED demo")
        assert incident["remediation_taken"] is None
        assert has_ended(program)
        assert f"{program.url}/incidents/{incident['id']}" in done.stdout
        assert "ai_agents_incidents_closed_total  0 → 1" in done.stdout
        assert lines[-1].startswith("SIMULATED  verdict  false_alarm")
        assert len(lines) < 60


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    with Program(tmp_path) as program:
        (program.data / "first-run.json").unlink()
        done = demo(program)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert "No ingest token" in done.stderr
        done = demo(program, "--token", "nonsense")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "refuses the ingest token (401)" in done.stderr
        program.stop()
        done = demo(program)
        assert done.returncode == 1
        assert done.stderr == f"No homelab runs at {program.url}: start it with `make run`.\n"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    require("docker", "busybox")
    with Docker(tmp_path_factory.mktemp("docker")) as running:
        running.image("busybox:latest")  # so that no registry is asked
        yield running


@pytest.fixture
def alerted(tmp_path: Path, engine: Docker) -> Iterator[tuple[Program, Alertmanager]]:
    """homelab with a Docker engine, and an Alertmanager whose receiver it is."""
    require("alertmanager")
    # Each has to know the other's address, and the token is made by the first start of the program.
    sender = Alertmanager(tmp_path / "alertmanager", webhook_url="", token="")
    with Program(tmp_path, DOCKER_HOST=engine.url, ALERTMANAGER_URL=sender.url, **FAST) as program:
        webhook = sender.config["receivers"][0]["webhook_configs"][0]
        webhook["url"] = f"{program.url}/alert"
        webhook["http_config"]["authorization"]["credentials"] = program.first_run()["tokens"]["ingest"]
        with sender:
            yield program, sender


def test_with_docker_and_alertmanager_everything_is_real(
    alerted: tuple[Program, Alertmanager], engine: Docker
) -> None:
    program, sender = alerted
    done = demo(program)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SIMULATED" not in done.stdout
    told = [
        "kills its main process",
        "CONFIRMED: ",
        "“exit_code: 137",
        "asks a person: REMEDIATION_MODE is approve",
        "a yes would mean: it restarts docker:local/homelab-demo-",
        "as there is no terminal to ask at",
        "operator      approved: ",
        "executor      begins: restart container docker:local/homelab-demo-",
        "proof         cleared: ",
        "verdict  verified: ",
    ]
    assert [text for text in told if text not in done.stdout] == []
    assert sorted(told, key=done.stdout.index) == told
    incident = newest(program)
    assert incident["verdict"] == "verified"
    assert incident["episodes"][0]["labels"]["demo"] == "true"
    assert containers(engine) == []
    assert sender.request("GET", "/api/v2/alerts").json() == []
    wait_until(lambda: has_ended(program), 10, "Alertmanager's resolve did not arrive")


def test_stopped_half_way_it_leaves_nothing_behind(tmp_path: Path, engine: Docker) -> None:
    with Program(tmp_path, DOCKER_HOST=engine.url, REMEDIATION_MODE="observe") as program:
        running = subprocess.Popen(
            COMMAND, cwd=ROOT, env=program.environment, stdout=subprocess.PIPE, text=True
        )
        assert running.stdout is not None
        for line in running.stdout:
            if "REMEDIATION_MODE is observe" in line:
                break
        assert len(containers(engine)) == 1
        running.send_signal(signal.SIGTERM)
        rest, _ = running.communicate(timeout=60)
        assert running.returncode == 128 + signal.SIGTERM
        assert "Stopped; clears up." in rest
        assert "Left behind" not in rest
        assert containers(engine) == []
        assert newest(program)["verdict"] == "false_alarm"
        assert has_ended(program)


def test_in_observe_mode_the_owner_mends_it(tmp_path: Path, engine: Docker) -> None:
    with Program(tmp_path, DOCKER_HOST=engine.url, REMEDIATION_MODE="observe", **FAST) as program:
        done = demo(program)
        assert done.returncode == 0
        assert "refuses: REMEDIATION_MODE is observe" in done.stdout
        assert "by hand" in done.stdout
        assert newest(program)["verdict"] == "cleared_before_action"
