"""The main job, end to end: the whole program, a real Alertmanager, Prometheus and Docker engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.homelab.program import Program

from .require import require
from .servers import Alertmanager, Docker, Json, Prometheus, free_port, wait_until

pytestmark = pytest.mark.e2e
RULE: Json = {
    "alert": "WebDown",
    "expr": 'up{job="web"} == 0',
    "labels": {"severity": "critical"},
    "annotations": {"summary": "{{ $labels.container }} does not answer"},
}


@contextmanager
def chat() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An Apprise URL and the messages that it was sent."""
    messages: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"json://127.0.0.1:{server.server_address[1]}/", messages
    finally:
        server.shutdown()
        server.server_close()


class Stage:
    """Everything a homelab has: an engine with two services, a Prometheus, an Alertmanager, this program."""

    def __init__(self, program: Program, docker: Docker, prometheus: Prometheus) -> None:
        self.program, self.docker, self.prometheus = program, docker, prometheus

    def get(self, path: str, role: str | None = "viewer") -> Any:
        response = self.program.request("GET", path, role=role)
        assert response.status_code == 200, response.text
        return response.json()

    def started(self, name: str) -> str:
        return str(self.docker.client.containers.get(name).attrs["State"]["StartedAt"])

    def incident(self) -> dict[str, Any] | None:
        found: list[dict[str, Any]] = self.get("/incidents")["incidents"]
        return found[0] if found else None

    def wait_incident(self, **wanted: object) -> dict[str, Any]:
        def fits() -> dict[str, Any] | None:
            found = self.incident()
            return found if found and all(found[key] == value for key, value in wanted.items()) else None

        return wait_until(fits, 60, f"no incident became {wanted}; the last is {self.incident()}", 0.2)

    def timeline(self, pk: int) -> str:
        incident = self.get(f"/api/v1/incidents/{pk}")
        lines = [f"#{pk} {incident['alert_name']}: {incident['verdict']}"]
        for event in incident["events"]:
            lines.append(f"  {event['at']}  {event['kind']:<18} {event['actor']:<13} {event['text']}")
        return "\n".join(lines)


@contextmanager
def stage(directory: Path, **variables: str) -> Iterator[Stage]:
    require("prometheus", "alertmanager", "docker", "busybox")
    ports = {"web-one": free_port(), "web-two": free_port()}
    statics = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"container": name}} for name, port in ports.items()
    ]
    # The program's port is known before it starts, and Alertmanager's token after.
    with Docker(directory / "docker") as docker:
        for name, port in ports.items():
            docker.run_web(name, port)
        job = {"job_name": "web", "static_configs": statics}
        server = Prometheus(directory / "prometheus", jobs=[job], rules=[RULE])
        alert_dir = directory / "alertmanager"
        settings = {
            "PROMETHEUS_URL": server.url,
            "DOCKER_HOST": docker.url,
            "PROOF_HOLD_SECONDS": "5",
            "PROOF_TIMEOUT_SECONDS": "15",
            **variables,
        }
        with Program(directory, **settings) as program:
            token = program.first_run()["tokens"]["ingest"]
            with Alertmanager(alert_dir, webhook_url=f"{program.url}/alert", token=token) as alertmanager:
                server.alertmanager = alertmanager.url
                with server as prometheus:
                    wait_until(lambda: len(prometheus.query("up == 1")) == 2, 20, "nothing is scraped")
                    yield Stage(program, docker, prometheus)


def test_a_killed_container_is_healed_and_everything_shows_it(tmp_path: Path) -> None:
    with chat() as (url, messages), stage(tmp_path, REMEDIATION_MODE="auto", NOTIFY_URLS=url) as scene:
        untouched = scene.started("web-two")
        scene.docker.kill_process("web-one")
        incident = scene.wait_incident(verdict="verified")
        print(scene.timeline(incident["id"]))
        assert incident["alert_name"] == "WebDown"
        assert incident["affected_systems"] == ["docker:local/web-one"]
        assert incident["resolution_status"] == "resolved"
        assert "exited with code 137" in incident["root_cause"]
        assert incident["remediation_taken"] == "restart container docker:local/web-one"
        assert scene.docker.client.containers.get("web-one").status == "running"
        assert scene.started("web-two") == untouched
        _everything_shows_it(scene, incident)
        wait_until(lambda: any("verified" in each["title"] for each in messages), 10, "nobody was told")
        assert all(len(each["title"]) <= 90 for each in messages)
        ready = wait_until(lambda: scene.get("/api/v1/memory?q=web-one+does+not+answer"), 10, "no memory")
        assert ready


def _everything_shows_it(scene: Stage, incident: dict[str, Any]) -> None:
    assert scene.get("/health", None)["memory"]["incidents"] == 1
    memory = scene.get("/stats")["memory"]
    assert (memory["total_incidents"], memory["success_rate"]) == (1, 100.0)
    assert memory["avg_resolution_time"] == pytest.approx(incident["resolution_time"], abs=1)
    metrics = scene.program.request("GET", "/metrics").text
    assert "ai_agents_incidents_total 1.0" in metrics
    assert 'ai_agents_incidents_by_severity{severity="critical"} 1.0' in metrics
    assert "ai_agents_success_rate 1.0" in metrics
    assert "django_http_requests_total_by_method_total" in metrics
    admin = scene.program.http
    page = admin.get(f"{scene.program.url}/admin/login/", timeout=10)
    login = {
        **scene.program.first_run()["admin"],
        "csrfmiddlewaretoken": page.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0],
        "next": f"/admin/incidents/incident/{incident['id']}/change/",
    }
    shown = admin.post(f"{scene.program.url}/admin/login/", data=login, timeout=10)
    assert shown.status_code == 200
    assert "web-one" in shown.text
    assert "verified" in shown.text


def test_by_default_the_action_waits_for_one_call(tmp_path: Path) -> None:
    with stage(tmp_path) as scene:
        scene.docker.kill_process("web-one")
        incident = scene.wait_incident(waiting_for="approval")
        assert scene.docker.client.containers.get("web-one").status == "exited"
        [action] = scene.get("/api/v1/actions")["results"]
        refused = scene.program.request("POST", f"/api/v1/actions/{action['id']}/approve", role="viewer")
        assert refused.status_code == 403
        approved = scene.program.request("POST", f"/api/v1/actions/{action['id']}/approve", role="operator")
        assert approved.status_code == 200, approved.text
        again = scene.program.request("POST", f"/api/v1/actions/{action['id']}/approve", role="operator")
        assert again.status_code == 410
        incident = scene.wait_incident(verdict="verified")
        print(scene.timeline(incident["id"]))


def test_one_tap_in_the_message_is_a_yes(tmp_path: Path) -> None:
    where = "http://homelab.lan:5000"
    variables = {"PUBLIC_URL": where, "ALLOWED_HOSTS": "127.0.0.1,homelab.lan"}
    with chat() as (url, messages), stage(tmp_path, NOTIFY_URLS=url, **variables) as scene:
        scene.docker.kill_process("web-one")

        def asked() -> str | None:
            links = [line.rsplit(" ", 1)[1] for each in messages for line in each["message"].splitlines()
                     if line.startswith("Approve or reject")]  # fmt: skip
            return links[0] if links else None

        link = wait_until(asked, 30, f"nobody was asked: {messages}").replace(where, scene.program.url)
        phone = requests.Session()  # not logged in; a chat that fetches a preview is no more
        for _ in range(2):
            page = phone.get(link, timeout=10)
            assert (page.status_code, scene.docker.client.containers.get("web-one").status) == (200, "exited")
        assert "exited with code 137" in page.text
        token = page.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        yes = {"decision": "approve", "csrfmiddlewaretoken": token}
        assert phone.post(link, data={"decision": "approve"}, timeout=10).status_code == 403
        assert phone.post(link, data=yes, timeout=10).status_code == 200
        incident = scene.wait_incident(verdict="verified")
        assert phone.post(link, data=yes, timeout=10).status_code == 410
        timeline = scene.timeline(incident["id"])
        assert "link in json-1" in timeline, timeline
