"""Answers that were damaged on their way: no fact is made of one, and nothing but our own errors comes of it.

A flipped bit inside a digit nobody can notice; TCP and TLS are there for that. What can be noticed is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from agents import cases, proof, reasoners, reconcile
from agents.answers import Triage
from agents.loop import Brief
from agents.models import Step
from agents.reading import ExpressionState
from agents.reasoners import dialects
from agents.tools import alertmanager, docker
from agents.tools.base import REGISTRY, Case, ToolError
from agents.tools.docker_changes import happened_since
from agents.tools.docker_client import evidence, stopped_by
from agents.tools.prometheus_client import Prometheus
from incidents.models import Episode, Incident
from tests.agents.alertmanager_api import FakeAlertmanager, active
from tests.agents.alertmanager_api import serving as serving_alertmanager
from tests.agents.conftest import Start
from tests.agents.fake_prometheus import FakePrometheus, serve, serving
from tests.e2e import openai_server as oai
from tests.e2e.proxy import ANY_BIT, HIGH_BIT, Proxy
from tests.incidents.rows import START, an_episode, an_incident

pytestmark = pytest.mark.django_db
TRIES = 25
MINE = {"instance": "nas:9100"}
KEY, ID = "docker:nas/shop", "a1" * 32
CASE = Case(
    incident_id=1,
    alert_name="ShopDown",
    severity="critical",
    labels={},
    annotations={},
    starts_at=datetime(2026, 1, 1, tzinfo=UTC),
)
BOTH = pytest.mark.parametrize("bits", [HIGH_BIT, ANY_BIT], ids=["high bit", "any bit"])


# --- Prometheus ----------------------------------------------------------------------------------


@pytest.fixture
def prometheus(settings: Any) -> Iterator[Proxy]:
    """Before a Prometheus by which the alert fires."""
    rule = {"type": "alerting", "name": "ServiceDown", "query": "up == 0"}
    fake = FakePrometheus(
        now=START.timestamp() + 60,
        rows={"up == 0": [(MINE, 0)]},
        samples={"up": [(MINE, START.timestamp() + 60)]},
        paths={"rules": {"groups": [{"name": "g", "rules": [rule]}]}},
    )
    with serving(fake), Proxy(fake.url) as proxy:
        settings.PROMETHEUS_URL = proxy.url
        yield proxy


def a_firing_incident() -> Incident:
    incident = an_incident(status="proving")
    link = "http://p:9090/graph?" + urlencode({"g0.expr": "up == 0"})
    an_episode(incident, generator_url=link)
    return incident


def test_a_damaged_prometheus_never_clears_what_fires(prometheus: Proxy) -> None:
    incident = a_firing_incident()
    seen = {proof.observe(incident).state for _ in prometheus.corruptions(HIGH_BIT, TRIES)}
    assert ExpressionState.UNKNOWN in seen
    assert ExpressionState.CLEARED not in seen
    assert proof.observe(incident).state is ExpressionState.FIRING


def test_whatever_prometheus_answers_only_a_tool_error_comes_of_it(prometheus: Proxy) -> None:
    client = Prometheus(prometheus.url, deadline=2)
    for _ in prometheus.corruptions(ANY_BIT, TRIES):
        for ask in (client.now, client.alerts, client.targets, lambda: client.rule("ServiceDown")):
            with suppress(ToolError):
                ask()
    assert client.now() > 0


# --- Docker --------------------------------------------------------------------------------------

EXITED = {
    "Id": ID,
    "Name": "/shop",
    "Image": "sha256:" + "b2" * 32,
    "Created": "2026-01-01T00:00:00.5Z",
    "RestartCount": 0,
    "State": {
        "Status": "exited",
        "Running": False,
        "OOMKilled": False,
        "Error": "",
        "ExitCode": 137,
        "Pid": 0,
        "StartedAt": "2026-01-01T00:00:01.5Z",
        "FinishedAt": "2026-01-01T00:00:09.5Z",
    },
    "Config": {
        "Image": "shop:1",
        "Labels": {"tier": "web"},
        "Env": ["PASSWORD=x"],
        "Hostname": "a1a1",
        "Tty": False,
    },
    "HostConfig": {"NetworkMode": "bridge", "RestartPolicy": {"Name": "no"}},
    "NetworkSettings": {"Ports": {}, "Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
}
EVENT = {"Action": "die", "timeNano": 1767225609 * 10**9, "Actor": {"Attributes": {"exitCode": "137"}}}
LOGS = b"".join(b"\1\0\0\0" + len(line).to_bytes(4, "big") + line for line in [b"one\n", b"killed\n"])
ENGINE: Mapping[str, Any] = {
    "version": {"ApiVersion": "1.47", "Version": "27.3.1"},
    "info": {"SystemTime": "2026-01-01T00:01:00.5Z"},
    "json": EXITED,
    "events": EVENT,
    "stats": {"pids_stats": {}, "cpu_stats": {}, "memory_stats": {}},
}


@pytest.fixture
def engine(settings: Any) -> Iterator[Proxy]:
    """Before a Docker engine with a container that was killed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            answer = [EXITED] if path.endswith("/containers/json") else ENGINE.get(path.rpartition("/")[2])
            content = LOGS if path.endswith("/logs") else json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain" if content is LOGS else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serve(Handler) as url, Proxy(url) as proxy:
        settings.DOCKER_HOSTS = {"nas": proxy.url.replace("http:", "tcp:")}
        yield proxy


def test_a_damaged_engine_never_lets_a_dead_container_run(engine: Proxy) -> None:
    incident = an_incident(status="proving")
    an_episode(incident, condition={"container": KEY})
    assert proof.observe(incident).state is ExpressionState.FIRING
    seen = {proof.observe(incident).state for _ in engine.corruptions(HIGH_BIT, TRIES)}
    assert ExpressionState.UNKNOWN in seen
    assert ExpressionState.CLEARED not in seen
    assert proof.observe(incident).state is ExpressionState.FIRING


@BOTH
def test_whatever_an_engine_answers_only_a_tool_error_comes_of_it(engine: Proxy, bits: int) -> None:
    asks = {
        "list": docker.list_containers,
        "evidence": lambda: evidence("nas", "shop"),
        "restarted": lambda: happened_since(
            "nas", "shop", event="restart", container_id=ID, since=1767225600.0
        ),
        "stopped": lambda: stopped_by("nas", "shop"),
    }
    for name in ("docker_inspect", "docker_events", "docker_stats"):
        asks[name] = lambda name=name: REGISTRY[name].call(CASE, {"container": KEY})
    for ask in asks.values():
        ask()
    for _ in engine.corruptions(bits, TRIES):
        for ask in asks.values():
            with suppress(ToolError):
                ask()


# --- Alertmanager --------------------------------------------------------------------------------


@pytest.fixture
def listed(settings: Any) -> Iterator[tuple[FakeAlertmanager, Proxy]]:
    settings.NOTIFY_URLS = []
    with serving_alertmanager() as fake, Proxy(fake.url) as proxy:
        settings.ALERTMANAGER_URL = proxy.url
        fake.alerts = [active(f"a{number}") for number in range(3)]
        yield fake, proxy


def test_a_damaged_list_of_alerts_opens_and_ends_nothing(listed: tuple[FakeAlertmanager, Proxy]) -> None:
    reconcile.open_missed(alertmanager.listing(), quiet=True)
    before = list(Episode.objects.values_list("fingerprint", "ends_at").order_by("pk"))
    assert len(before) == 3
    for _ in listed[1].corruptions(HIGH_BIT, TRIES):
        with pytest.raises(ToolError):
            alertmanager.listing()
    for _ in listed[1].corruptions(ANY_BIT, TRIES):
        with suppress(ToolError):
            alertmanager.listing()
    assert list(Episode.objects.values_list("fingerprint", "ends_at").order_by("pk")) == before
    assert len(alertmanager.active_alerts()) == 3


# --- a model's server ----------------------------------------------------------------------------


@BOTH
def test_a_model_that_talks_nonsense_hands_over_to_the_playbooks(
    model: Start, step: Step, settings: Any, bits: int
) -> None:
    triage = {"state": "unknown", "affected": [], "summary": "nobody can say"}
    server = model(lambda request: oai.call_tools(oai.tool_call("submit_triage", triage)))
    brief = Brief("monitor", cases.build(step.run.incident), Triage, (), {"reading": None})
    with Proxy(server.base_url) as proxy:
        settings.OPENAI_BASE_URL, settings.OPENAI_TIMEOUT_SECONDS = proxy.url, 1
        for _ in proxy.corruptions(bits, 4, least=150):
            dialects.forget()
            assert reasoners.think(step, brief).state == "unknown"
            assert step.rung in ("model", "playbooks")
