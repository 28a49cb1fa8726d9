"""Alert to diagnosis on playbooks: containers with random names break in different ways.

Each alert is posted as Alertmanager posts it, one after the other, and the time until the crew's diagnosis is
read from the incident's own events. A diagnosis counts only when it is the right one.
"""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.e2e.servers import Docker, Prometheus, free_port, scrape_job, wait_until
from tests.homelab.program import Program

INCIDENTS = 50
NEEDED = ("prometheus", "docker", "busybox")


@dataclass(frozen=True)
class Fault:
    """A way to break a service, and what the diagnosis must say of it."""

    command: list[str] | None
    break_it: Callable[[Docker, str], object]
    right: str


def _stop(docker: Docker, name: str) -> None:
    docker.client.containers.get(name).stop(timeout=1)


def _nothing(docker: Docker, name: str) -> None:
    """It is broken from the beginning."""


FAULTS = (
    Fault(None, lambda docker, name: docker.kill_process(name), "exited with code 137"),
    Fault(None, _stop, "was stopped by hand"),
    Fault(["sleep", "100000"], _nothing, "does not answer Prometheus"),
    Fault(["sh", "-c", "exit 3"], _nothing, "exited with code 3"),
)


def measure(directory: Path) -> dict[str, Any]:
    """Alert to diagnosis on playbooks, one incident after the other."""
    services = [(f"s{secrets.token_hex(4)}", free_port(), FAULTS[n % len(FAULTS)]) for n in range(INCIDENTS)]
    with Docker(directory / "docker") as docker:
        for name, port, fault in services:
            docker.run_web(name, port, command=fault.command)
        jobs = [scrape_job("web", *(port for _, port, _ in services))]
        with Prometheus(directory / "prometheus", jobs=jobs, rules=[]) as prometheus:
            wait_until(lambda: len(prometheus.query("up")) == INCIDENTS, 30, "not everything is scraped")
            for name, _, fault in services:
                fault.break_it(docker, name)
            wait_until(lambda: len(prometheus.query("up == 0")) == INCIDENTS, 30, "not everything is down")
            settings = {"PROMETHEUS_URL": prometheus.url, "DOCKER_HOST": docker.url}
            with Program(directory, REMEDIATION_MODE="observe", **settings) as program:
                found = [_diagnose(program, prometheus.url, *each) for each in services]
    seconds = sorted(each for each, _ in found)
    right = sum(is_right for _, is_right in found)
    return {
        "incidents": len(found),
        "right": right,
        "p50_seconds": round(statistics.median(seconds), 3),
        "p95_seconds": round(seconds[int(len(seconds) * 0.95)], 3),
    }


def _diagnose(
    program: Program, prometheus_url: str, name: str, port: int, fault: Fault
) -> tuple[float, bool]:
    """Seconds from the accepted alert to the Analyst's word, and whether it is right."""
    alert = {
        "status": "firing",
        "labels": {
            "alertname": f"A{secrets.token_hex(4)}",
            "severity": "warning",
            "job": "web",
            "instance": f"127.0.0.1:{port}",
            "container": name,
        },
        "annotations": {"summary": f"{name} is down"},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": f"{prometheus_url}/graph?g0.expr={quote('up == 0')}",
    }
    answer = program.request("POST", "/alert", role="ingest", json={"alerts": [alert]})
    [incident_id] = answer.json()["incidents"]

    def told() -> dict[str, Any] | None:
        incident: dict[str, Any] = program.request(
            "GET", f"/api/v1/incidents/{incident_id}", role="viewer"
        ).json()
        return incident if incident["root_cause"] else None

    incident = wait_until(told, 60, f"#{incident_id} is not diagnosed", 0.1)
    events = {event["actor"]: event for event in incident["events"] if event["kind"] == "agent"}
    opened = datetime.fromisoformat(incident["events"][0]["at"])
    took = datetime.fromisoformat(events["analyst"]["at"]) - opened
    return took.total_seconds(), fault.right in incident["root_cause"]
