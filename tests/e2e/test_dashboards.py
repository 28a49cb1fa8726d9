"""Every panel, recording rule and alert, on a real Prometheus that scraped a live program at work."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from django.utils import timezone

from incidents.alertmanager import label_fingerprint
from metrics import dashboards
from tests.homelab.program import Program
from tests.metrics.prometheus import PROMETHEUS, promtool

from . import openai_server as oai
from .require import require
from .servers import Docker, Json, Prometheus, free_port, wait_until
from .stage import Chat
from .test_crew import sensible_model

pytestmark = pytest.mark.e2e
RULES = [
    rule
    for name in ("recording.yml", "alerts.yml")
    for group in yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    for rule in group["rules"]
]
DOWN = 'up{job="web"} == 0'
# A scrape is a second here; a range holds the whole of the test.
RANGE_SECONDS, STEP_SECONDS = 120, 5
VARIABLES = {"$instance": ".*", "$__range": "2m", "$__rate_interval": "15s", "$__interval": "5s"}
SERVICES = ("web-one", "web-two", "web-three", "web-four")


class Model:
    """Sensible, and it asks for a container that is not there, too; or it is away."""

    def __init__(self) -> None:
        self.away: set[str] = set()

    def __call__(self, request: Json) -> Any:
        if request["model"] in self.away:
            return oai.error(500, "The server had an error")
        answer = sensible_model(request)
        calls = answer["tool_calls"]
        if calls[0]["function"]["name"] == "docker_inspect":
            calls.append(oai.tool_call("docker_inspect", {"container": "docker:local/nowhere"}))
        return answer


class Scene:
    """A program that watches four services, and the Prometheus that watches both."""

    def __init__(
        self, program: Program, docker: Docker, prometheus: Prometheus, ports: dict[str, int]
    ) -> None:
        self.program, self.docker, self.prometheus, self.ports = program, docker, prometheus, ports

    def break_down(self, name: str, severity: str = "critical") -> int:
        """Kill a service, deliver the alert about it as Alertmanager would; its incident."""
        self.docker.kill_process(name)
        down = f'up{{container="{name}"}} == 0'
        wait_until(lambda: self.prometheus.query(down), 20, f"{name} is not seen to be down")
        labels = {
            "alertname": "WebDown",
            "severity": severity,
            "job": "web",
            "instance": f"127.0.0.1:{self.ports[name]}",
            "container": name,
        }
        alert = {
            "status": "firing",
            "labels": labels,
            "annotations": {"summary": f"{name} is down"},
            "startsAt": timezone.now().isoformat(),
            "generatorURL": f"{self.prometheus.url}/graph?g0.expr={quote(DOWN)}&g0.tab=1",
            "fingerprint": label_fingerprint(labels),
        }
        body: Json = {"version": "4", "groupKey": name, "alerts": [alert, {"labels": 7}]}
        answer = self.program.request("POST", "/alert", role="ingest", json=body)
        assert answer.status_code == 200, answer.text
        found: int = answer.json()["incidents"][0]
        return found

    def incident(self, pk: int) -> Json:
        found: Json = self.program.request("GET", f"/api/v1/incidents/{pk}", role="viewer").json()
        return found

    def wait_event(self, pk: int, kind: str) -> None:
        def happened() -> bool:
            return any(event["kind"] == kind for event in self.incident(pk)["events"])

        wait_until(happened, 40, f"#{pk}: nothing is {kind}", 0.2)

    def wait_verified(self, pk: int) -> None:
        wait_until(lambda: self.incident(pk)["verdict"] == "verified", 40, f"#{pk} is not verified", 0.2)

    def answer(self, panel: Json, expr: str) -> list[float]:
        """All values but NaN that Grafana would get for a query of the panel."""
        now = time.time()
        path, when = "/api/v1/query", {"time": str(now)}
        if not panel["targets"][0]["instant"]:
            path = "/api/v1/query_range"
            when = {"start": str(now - RANGE_SECONDS), "end": str(now), "step": str(STEP_SECONDS)}
        found = self.prometheus.request("GET", path, params={"query": expr, **when}).json()["data"]["result"]
        values = [float(value) for row in found for _at, value in row.get("values", [row.get("value")])]
        return [value for value in values if not math.isnan(value)]


@contextmanager
def scene(directory: Path, model: oai.OpenAIServer) -> Iterator[Scene]:
    require("prometheus", "docker", "busybox")
    ports = {name: free_port() for name in SERVICES}
    web = [{"targets": [f"127.0.0.1:{port}"], "labels": {"container": name}} for name, port in ports.items()]
    chat = Chat()
    jobs: list[Json] = [{"job_name": "web", "static_configs": web}]
    server = Prometheus(directory / "prometheus", jobs=jobs, rules=RULES)
    with Docker(directory / "docker") as docker:
        for name, port in ports.items():
            docker.run_web(name, port)
        program = Program(
            directory,
            PROMETHEUS_URL=server.url,
            DOCKER_HOST=docker.url,
            NOTIFY_URLS=chat.url,
            OPENAI_BASE_URL=model.base_url,
            OPENAI_MODEL="priced",
            OPENAI_FALLBACK_MODEL="unpriced",
            LLM_PRICES="priced=0.15,0.60,0.075",
            LLM_BUDGET_MONTHLY_USD="20",
            REMEDIATION_MODE="auto",
            PROTECTED_TARGETS="docker:local/web-three",
            PROOF_HOLD_SECONDS="1",
        )
        [job] = yaml.safe_load((PROMETHEUS / "scrape.yml").read_text())["scrape_configs"]
        del job["scrape_interval"]
        job["static_configs"][0]["targets"] = [f"127.0.0.1:{program.port}"]
        with server as prometheus, program:
            # Not before it serves: its first health check would find itself down.
            prometheus.reload(jobs=[*jobs, job])
            wait_until(lambda: len(prometheus.query("up == 1")) == 5, 30, "not all is scraped")
            yield Scene(program, docker, prometheus, ports)
    chat.server.shutdown()
    chat.server.server_close()


def work_some_incidents(stage: Scene, model: Model) -> None:
    """By each rung; fixed, refused and closed by a person; and a delivery that is turned away."""
    assert stage.program.request("POST", "/alert", role="viewer", json={}).status_code == 403
    protected = stage.break_down("web-three")
    stage.wait_event(protected, "refused")
    mended = []
    for away, name, severity in (
        (set(), "web-one", "critical"),
        ({"priced"}, "web-two", "warning"),
        ({"priced", "unpriced"}, "web-four", "critical"),
    ):
        model.away = away
        mended.append(stage.break_down(name, severity))
        stage.wait_event(mended[-1], "executed")
    said = {"verdict": "resolved_by_human"}
    path = f"/api/v1/incidents/{protected}/annotate"
    assert stage.program.request("POST", path, role="operator", json=said).status_code == 200
    for pk in mended:
        stage.wait_verified(pk)


def test_every_panel_has_data_and_every_rule_can_be_evaluated(tmp_path: Path) -> None:
    model = Model()
    with oai.OpenAIServer(model, models=("priced", "unpriced")) as server, scene(tmp_path, server) as stage:
        work_some_incidents(stage, model)
        text = stage.program.request("GET", "/metrics").text
        closed = 'ai_agents_incidents_closed_total{severity="critical",verdict="verified"}'
        # A growth needs two samples, of everything that counted.
        scraped = f"{closed} offset 2s == {sample(text, closed)}"
        wait_until(lambda: stage.prometheus.query(scraped), 20, "the last incident is not scraped")
        empty = []
        for page in dashboards.PAGES:
            for panel in page.render()["panels"]:
                for target in panel.get("targets", []):
                    expr = target["expr"]
                    for name, value in VARIABLES.items():
                        expr = expr.replace(name, value)
                    if not stage.answer(panel, expr):
                        empty.append((page.name, panel["title"], expr))
        assert empty == []
        _the_rules_are_well(stage)
        _prometheus_finds_fault_with_one_name(text)


def sample(text: str, series: str) -> float:
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(series))


def _the_rules_are_well(stage: Scene) -> None:
    groups = stage.prometheus.request("GET", "/api/v1/rules").json()["data"]["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert len(found) == len(RULES)
    assert [rule for rule in found if rule["health"] != "ok" or rule.get("lastError")] == []
    for rule in RULES:
        if "record" in rule:
            assert stage.prometheus.query(rule["record"]), rule["record"]
    firing = stage.prometheus.query('ALERTS{alertstate="firing"}')
    assert {alert["metric"]["alertname"] for alert in firing} == {"AIAgentsWebhookRefusing"}


def _prometheus_finds_fault_with_one_name(text: str) -> None:
    checked = promtool("check", "metrics", text=text)
    lines = (checked.stdout + checked.stderr).splitlines()
    assert [line.split()[0] for line in lines if "ai_agents" in line] == ["ai_agents_incidents_total"], lines
