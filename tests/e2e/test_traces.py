"""One trace, from the delivery to the message that tells how it ended; log lines that say whose they are."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from tests.canaries import CANARY
from tests.crash.world import HOST, NAME
from tests.homelab.program import Program
from tests.storm.engine import Engine

from . import openai_server as oai
from .otlp import Receiver, Span
from .process import wait_until
from .stage import Chat

pytestmark = pytest.mark.e2e
TARGET = f"docker:{HOST}/{NAME}"
TOOL = "docker_inspect"
REQUEST = "delivery-7.of:the+test"
AGENTS = {"submit_triage": "monitor", "submit_diagnosis": "analyst", "submit_remediation": "healer"}
# The sampler leaves nothing out, and what ended is sent at once.
TRACED = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


def thinks(answering: threading.Event, request: dict[str, Any]) -> Any:
    """The Analyst looks at the container, the Healer wants it restarted."""
    answering.wait(30)
    names = [tool["function"]["name"] for tool in request["tools"]]
    agent = next(AGENTS[name] for name in names if name in AGENTS)
    read = [message for message in request["messages"] if message["role"] == "tool"]
    if agent == "analyst" and not read:
        return oai.call_tools(oai.tool_call(TOOL, {"container": NAME}))
    cause = {"cause": "it crashed", "certainty": "LIKELY", "claims": []}
    answers: dict[str, tuple[str, dict[str, Any]]] = {
        "monitor": ("submit_triage", {"state": "firing", "affected": [NAME], "summary": "it is down"}),
        "analyst": ("submit_diagnosis", cause),
        "healer": (
            "submit_remediation",
            {"action": "restart_container", "target": TARGET, "reason": "it crashed"},
        ),
    }
    return oai.call_tools(oai.tool_call(*answers[agent]))


@dataclass
class Home:
    """The program, and what it talks to."""

    program: Program
    engine: Engine
    receiver: Receiver
    model: oai.OpenAIServer
    chat: Chat
    answering: threading.Event  # while it is not set, the model answers nobody

    def post(self, name: str, *, about: str = NAME, **headers: str) -> Any:
        labels = {"alertname": name, "severity": "critical", "container": about}
        one = {
            "status": "firing",
            "labels": labels,
            "annotations": {"summary": f"it is down, password={CANARY}"},
            "startsAt": datetime.now(UTC).isoformat(),
        }
        token = self.program.first_run()["tokens"]["ingest"]
        return self.program.http.post(
            f"{self.program.url}/alert",
            json={"version": "4", "groupKey": name, "alerts": [one]},
            headers={"Authorization": f"Bearer {token}", **headers},
            timeout=10,
        )

    def incident(self, pk: int) -> dict[str, Any]:
        found: dict[str, Any] = self.program.request("GET", f"/api/v1/incidents/{pk}", role="viewer").json()
        return found

    def lines(self) -> list[dict[str, Any]]:
        said = [line for line in self.program.output().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in said]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with ExitStack() as stack:
        answering = threading.Event()
        answering.set()
        engine = stack.enter_context(Engine(HOST, [NAME], calls=[]))
        receiver = stack.enter_context(Receiver())
        model = stack.enter_context(oai.OpenAIServer(partial(thinks, answering), api_key=f"sk-{CANARY}"))
        chat = Chat()
        stack.callback(chat.server.server_close)
        stack.callback(chat.server.shutdown)
        program = Program(
            tmp_path_factory.mktemp("traces"),
            DOCKER_HOSTS=f"{HOST}={engine.url}",
            OPENAI_BASE_URL=model.base_url,
            OPENAI_API_KEY=f"sk-{CANARY}",
            OPENAI_MODEL="scripted",
            NOTIFY_URLS=chat.url,
            REMEDIATION_MODE="auto",
            PROOF_HOLD_SECONDS="1",
            HEALTH_CHECK_SECONDS="3600",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
            **TRACED,
        )
        stack.enter_context(program)
        yield Home(program, engine, receiver, model, chat, answering)


@dataclass
class Worked:
    """An incident that the model diagnosed, the crew mended and the proof closed."""

    incident: dict[str, Any]
    spans: list[Span]

    def one(self, name: str) -> Span:
        [found] = self.all(name)
        return found

    def all(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def below(self, span: Span, ancestor: Span) -> bool:
        by_id = {each.id: each for each in self.spans}
        while span.parent in by_id:
            span = by_id[span.parent]
            if span.id == ancestor.id:
                return True
        return False


@pytest.fixture(scope="module")
def worked(home: Home) -> Worked:
    home.engine.crash(NAME, 137)
    [pk] = home.post("ContainerDown", **{"X-Request-ID": REQUEST}).json()["incidents"]
    wait_until(lambda: home.incident(pk)["verdict"], 40, "it is not closed", 0.2)
    wait_until(lambda: any("fixed" in title for title in home.chat.messages), 20, "nobody is told", 0.2)
    incident = home.incident(pk)
    trace = incident["trace_id"]
    home.receiver.wait("notify update", lambda span: span.trace == trace and span.name == "notify update")
    # A span is sent when it has ended, which is after those below it.
    wait_until(lambda: home.receiver.is_whole(trace), 10, f"a part is missing:\n{home.receiver.tree(trace)}")
    print(home.receiver.tree(trace))
    return Worked(incident, home.receiver.of(trace))


def test_one_trace_leads_from_the_delivery_to_the_last_message(worked: Worked) -> None:
    delivery = worked.one("POST /alert")
    assert (delivery.kind, delivery.parent) == ("SERVER", "")
    assert delivery.attributes["homelab.incident.id"] == worked.incident["id"]
    assert delivery.attributes["http.response.status_code"] == 200
    names = {span.name for span in worked.spans}
    agents = {f"invoke_agent {name}" for name in ("monitor", "analyst", "healer", "communicator")}
    tells = {"notify opened", "notify update"}
    assert {*agents, *tells, "executor", "action restart_container", "proof"} <= names
    assert [span.name for span in worked.spans if span != delivery and not worked.below(span, delivery)] == []
    assert [(span.name, span.attributes) for span in worked.spans if span.error is not None] == []
    assert delivery.service["service.name"] == "homelab-ai-agents"


def test_models_and_tools_are_below_their_agents_in_the_conventions_names(worked: Worked) -> None:
    analyst = worked.one("invoke_agent analyst")
    assert analyst.kind == "INTERNAL"
    assert analyst.attributes["gen_ai.agent.name"] == "analyst"
    calls = [span for span in worked.all("chat scripted") if span.parent == analyst.id]
    assert [span.kind for span in calls] == ["CLIENT", "CLIENT"]
    for span in calls:
        said = span.attributes
        assert (said["gen_ai.operation.name"], said["gen_ai.request.model"]) == ("chat", "scripted")
        assert said["gen_ai.response.finish_reasons"] == ["tool_calls"]
        assert said["gen_ai.usage.input_tokens"] > said["gen_ai.usage.output_tokens"] > 0
        assert said["server.address"] == "127.0.0.1"
    tool = worked.one(f"execute_tool {TOOL}")
    assert (tool.kind, tool.parent) == ("INTERNAL", analyst.id)
    assert (tool.attributes["gen_ai.tool.name"], tool.attributes["gen_ai.tool.call.id"]) == (
        TOOL,
        "analyst-1",
    )


def test_messages_are_processed_below_what_sent_them(worked: Worked) -> None:
    processed = [span for span in worked.spans if span.kind == "CONSUMER"]
    assert {span.name for span in processed} >= {"process crew", "process telling"}
    assert {span.parent for span in processed} <= {span.id for span in worked.spans}


def test_the_change_and_its_proof_are_in_it(worked: Worked) -> None:
    action = worked.one("action restart_container")
    assert (action.kind, action.parent) == ("CLIENT", worked.one("executor").id)
    assert action.attributes["homelab.target"] == TARGET
    last = max(worked.all("proof"), key=lambda span: span.attributes["homelab.step.fence"])
    assert last.attributes["homelab.verdict"] == "verified"


def test_log_lines_are_found_by_the_incident_and_by_the_request(home: Home, worked: Worked) -> None:
    mine = [line for line in home.lines() if line["incident_id"] == worked.incident["id"]]
    assert {line["agent"] for line in mine} >= {"monitor", "analyst", "healer", "executor", "communicator"}
    assert {line["request_id"] for line in mine} == {REQUEST}
    assert {line["trace_id"] for line in mine} == {worked.incident["trace_id"]}
    assert all(line["step"] for line in mine if line["agent"])
    assert [line for line in home.lines() if line["request_id"] == REQUEST] == mine


def test_a_delivery_goes_on_in_the_trace_of_its_caller(home: Home, worked: Worked) -> None:
    caller = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    answer = home.post("Again", about="another", traceparent=caller)
    span = home.receiver.wait(
        "of the delivery", lambda span: span.trace == caller[3:35] and span.kind == "SERVER"
    )
    assert span.parent == caller[36:52]
    assert [span.attributes["homelab.incident.id"]] == answer.json()["incidents"]
    assert answer.headers["X-Request-ID"] != REQUEST


def test_nothing_secret_is_in_a_span_or_a_line(home: Home, worked: Worked) -> None:
    assert CANARY not in "".join(span.raw for span in home.receiver.spans)
    assert CANARY not in home.program.output()
    text = "".join(span.raw for span in worked.spans)
    assert "it crashed" not in text
    assert "it is down" not in text


def test_what_a_killed_worker_began_goes_on_in_the_same_trace(home: Home, worked: Worked) -> None:
    home.answering.clear()
    asked = len(home.model.requests)
    pk = home.post("Killed", about="a third").json()["incidents"][0]
    delivery = home.receiver.wait(
        "of the delivery",
        lambda span: span.kind == "SERVER" and span.attributes.get("homelab.incident.id") == pk,
    )
    wait_until(lambda: len(home.model.requests) > asked, 20, "the model is not asked")
    home.program.kill()
    home.answering.set()
    home.program.start()
    again = home.receiver.wait(
        "of the step's second turn",
        lambda span: span.trace == delivery.trace and span.attributes.get("homelab.step.fence", 0) > 1,
    )
    assert again.parent == delivery.id
    said = [line for line in home.lines() if line["incident_id"] == pk]
    assert len({line["request_id"] for line in said}) == 1
    assert {line["trace_id"] for line in said} == {delivery.trace}
