"""The addresses that an alert carries are shown to people, and asked by nobody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.homelab.program import Program

from .process import wait_until

pytestmark = pytest.mark.e2e


class Listener:
    """Takes connections, and counts them."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:  # closed
                return
            self.connections += 1
            connection.close()


@pytest.fixture
def trap() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.socket.close()


def delivery(trap: Listener, status: str) -> dict[str, Any]:
    return {
        "version": "4",
        "status": status,
        "groupKey": "trap",
        "externalURL": f"{trap.url}/alertmanager",
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "Trap", "severity": "critical", "container": "web"},
                "annotations": {
                    "summary": f"see {trap.url}/summary",
                    "runbook_url": f"{trap.url}/runbook",
                    "dashboard_url": f"{trap.url}/dashboard",
                    "image": f"![x]({trap.url}/pixel)",
                },
                "startsAt": "2026-01-01T00:00:00Z",
                "endsAt": "2026-01-01T00:05:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
                "generatorURL": f"{trap.url}/graph?g0.expr=up%3D%3D0&g0.tab=1",
                "silenceURL": f"{trap.url}/silence",
                "dashboardURL": f"{trap.url}/dashboard",
                "imageURL": f"{trap.url}/image",
            }
        ],
    }


def test_nothing_that_an_alert_links_to_is_asked_in_its_whole_life(tmp_path: Path, trap: Listener) -> None:
    life = {"PROOF_HOLD_SECONDS": "1", "PROOF_TIMEOUT_SECONDS": "2"}
    with Program(tmp_path, NOTIFY_URLS="json://127.0.0.1:9/", **life) as program:
        firing = program.request("POST", "/alert", role="ingest", json=delivery(trap, "firing"))
        (incident,) = firing.json()["incidents"]

        def story() -> dict[str, Any]:
            found: dict[str, Any] = program.request(
                "GET", f"/api/v1/incidents/{incident}", role="admin"
            ).json()
            return found

        runs = f"/api/v1/incidents/{incident}/runs"
        wait_until(
            lambda: any(
                step["agent"] == "healer" and step["state"] == "done"
                for run in program.request("GET", runs, role="admin").json()["results"]
                for step in run["steps"]
            ),
            60,
            "the crew did not come to its Healer",
        )
        assert program.request("POST", "/trigger-health-check", role="operator").status_code == 202
        program.request("POST", "/alert", role="ingest", json=delivery(trap, "resolved"))
        wait_until(lambda: story()["verdict"] is not None, 60, "the incident was not closed")
        assert program.request("GET", f"/api/v1/memory?q={trap.url}", role="viewer").status_code == 200
        assert trap.url in program.request("GET", "/api/v1/deliveries/1", role="admin").text
        assert trap.connections == 0
        # the trap works: whoever connects is counted
        socket.create_connection(trap.socket.getsockname()).close()
        wait_until(lambda: trap.connections == 1, 10, "the listener counts nobody")
