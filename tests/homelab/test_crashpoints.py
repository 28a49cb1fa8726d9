"""HOMELAB_CRASH_AT: the whole program dies at a commit and goes on; a value that means nothing stops it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from homelab import crashpoints
from homelab.env import ConfigError
from tests.e2e.process import wait_until
from tests.homelab.program import ROOT, Program, environment


@pytest.mark.parametrize(
    "value",
    [
        "agents.executor._begin",
        "agents.executor._begin:during",
        "agents.executor._begin:after#0",
        "agents.executor.nothing:after",
        "agents.nothing:after",
        "os.kill:before",
    ],
)
def test_a_value_that_means_nothing_names_the_variable(value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HOMELAB_CRASH_AT"):
        crashpoints.parse(value, tmp_path)


def test_a_value_is_a_function_a_side_and_a_time(tmp_path: Path) -> None:
    crash = crashpoints.parse("incidents.queue.QueueQuerySet.claim:before#3", tmp_path)
    assert (crash.point, crash.time) == ("incidents.queue.QueueQuerySet.claim:before", 3)


@pytest.mark.e2e
def test_a_wrong_value_stops_the_start(tmp_path: Path) -> None:
    env = environment(tmp_path, 1, HOMELAB_CRASH_AT="nothing:after")
    ended = subprocess.run(
        [sys.executable, "-m", "homelab.run"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "HOMELAB_CRASH_AT" in ended.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("side", ["before", "after"])
def test_an_alert_whose_delivery_was_cut_off_is_repeated_and_opens_one_incident(
    side: str, tmp_path: Path
) -> None:
    point = f"incidents.intake._store:{side}"
    with Program(tmp_path, HOMELAB_CRASH_AT=point) as program:
        one = {
            "status": "firing",
            "labels": {"alertname": "CutOff", "severity": "warning"},
            "startsAt": datetime.now(UTC).isoformat(),
        }
        body = {"version": "4", "groupKey": "cut off", "status": "firing", "alerts": [one]}
        with pytest.raises(requests.ConnectionError):
            program.request("POST", "/alert", role="ingest", json=body)
        assert (program.data / crashpoints.MARKER).exists()
        wait_until(program.is_healthy, 60, "no other worker was started")
        assert program.request("POST", "/alert", role="ingest", json=body).status_code == 200
        found = program.request("GET", "/api/v1/incidents", role="viewer").json()
        assert [each["alert_name"] for each in found["results"]] == ["CutOff"]
