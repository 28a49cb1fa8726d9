"""A secret that a tool reads or an alert tells goes neither to the model nor into the crew's rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.apps import apps

from agents import cases, crew, evidence, reasoners, transcript
from agents.answers import Claim, Diagnosis
from agents.loop import Brief, Request, Toolbox
from agents.models import Step
from agents.tools import docker
from agents.tools.base import REGISTRY, Case, Result, ToolError
from agents.tools.docker_client import without_environment
from incidents.models import Incident, Target
from incidents.redaction import HIDDEN, clean_tree, hide_everywhere
from tests.canaries import CANARY, LEAKS, OWN_SECRET
from tests.e2e import openai_server as oai

pytestmark = pytest.mark.django_db
KINDS = pytest.mark.parametrize("kind", LEAKS)
DIAGNOSIS = {"cause": "nobody can say", "certainty": "INCONCLUSIVE", "claims": [], "dropped": [], "code": ""}


@pytest.fixture(autouse=True)
def _our_secret() -> Iterator[None]:
    before = hide_everywhere({OWN_SECRET})
    yield
    hide_everywhere(before)


def reading(text: str) -> Any:
    """A tool that reads this text, or whose reading fails with it."""

    def read(case: Case, query: str | None = None) -> Result:
        if query == "fail":
            raise ToolError(text)
        return Result(text, {"line": text, "password": CANARY, "lines": [text]})

    return replace(REGISTRY["recall_incidents"], function=read)


def a_brief(step: Step, kind: str) -> Brief[Diagnosis]:
    told = cases.build(step.run.incident)
    leaks = {"summary": LEAKS[kind], "password": CANARY}
    case = replace(told, annotations=leaks, labels={**told.labels, "note": LEAKS[kind]})
    return Brief(step.agent, case, Diagnosis, (reading(LEAKS[kind]),), {"reading": {"reason": LEAKS[kind]}})


@KINDS
def test_a_tools_output_is_stored_redacted_and_quotes_are_checked_against_that(step: Step, kind: str) -> None:
    toolbox = Toolbox(a_brief(step, kind), transcript.recorder(step))
    toolbox.call(Request("monitor-1", "recall_incidents", {"query": LEAKS[kind]}))
    toolbox.call(Request("monitor-2", "recall_incidents", {"query": "fail"}))
    read, failed = step.tool_calls.order_by("id")
    for kept in (read.output, json.dumps(read.data), json.dumps(read.arguments), failed.error):
        assert CANARY not in kept
        assert HIDDEN in kept
    quoted = [
        Claim(text="so it says", call_id="monitor-1", quote=text) for text in (read.output, LEAKS[kind])
    ]
    checked = evidence.check(
        Diagnosis.model_validate({**DIAGNOSIS, "claims": quoted}), {"monitor-1": read.output}
    )
    assert [claim.found for claim in checked.claims] == [True, False]


@KINDS
def test_the_model_is_sent_none(model, step: Step, kind: str) -> None:
    def script(request: dict[str, Any]) -> Any:
        asked = sum(message["role"] == "tool" for message in request["messages"])
        if asked < 2:
            return oai.call_tools(oai.tool_call("recall_incidents", {"query": ["look", "fail"][asked]}))
        return oai.call_tools(oai.tool_call("submit_diagnosis", {**DIAGNOSIS, "cause": LEAKS[kind]}))

    server = model(script)
    brief = a_brief(step, kind)
    step.agent = brief.agent
    diagnosis = reasoners.think(step, brief)
    assert step.rung == "model"
    assert len(server.requests) == 3
    for request in server.requests:
        assert CANARY not in request.body.decode()
    assert server.requests[-1].body.decode().count(HIDDEN) >= 4  # case, annotations, output, error
    assert CANARY not in diagnosis.cause  # what the model says is redacted, too
    assert CANARY not in json.dumps(step.brief)
    for row in apps.get_model("agents", "ModelCall").objects.values():
        assert CANARY not in str(row)


def test_the_inventory_keeps_none_of_a_containers_labels(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    facts = a_container(labels={"backup.password": CANARY, "homelab.remediation": "auto"})
    settings.DOCKER_HOSTS = {"nas": "unix:///nowhere"}
    monkeypatch.setattr(docker, "list_containers", lambda: docker.Listing((facts,), {}))
    cases.refresh_inventory()
    kept = Target.objects.get(name="web").facts["labels"]
    assert kept == {"backup.password": HIDDEN, "homelab.remediation": "auto"}


def a_container(**fields: Any) -> Any:
    return docker.ContainerFacts(
        **{
            "key": "docker:nas/web",
            "host": "nas",
            "name": "web",
            "id": "4f66ad9a0b2e",
            "image": "web:1",
            "image_id": "sha256:9b7e2f0c",
            "labels": {},
            "status": "running",
            "health": None,
            "ports": (),
            "published_ports": (),
            "created": "2026-11-23T04:00:00Z",
            "restart_policy": "no",
            "aliases": (),
            **fields,
        }
    )


def test_an_inspection_that_is_kept_as_evidence_has_none() -> None:
    inspection = {
        "Config": {
            "Env": [f"FOO={CANARY}", "TZ=UTC"],
            "Cmd": ["app", "--token", CANARY],
            "Healthcheck": {"Test": ["CMD-SHELL", f"mysqladmin ping -p{CANARY}"]},
            "Labels": {"backup.password": CANARY},
        },
        "Args": [f"--api-key={CANARY}"],
    }
    kept = clean_tree({"inspect": without_environment(inspection), "logs": LEAKS["a printed environment"]})
    assert CANARY not in json.dumps(kept)
    assert kept["inspect"]["Config"]["Env"] == ["FOO", "TZ"]


def test_no_row_of_a_run_on_playbooks_holds_one(step: Step) -> None:
    Incident.objects.filter(pk=step.run.incident_id).update(description=LEAKS["a header"])
    step.run.incident.episodes.update(annotations={"summary": LEAKS["a header"], "password": CANARY})
    crew.monitor(step)
    for model in apps.get_app_config("agents").get_models():
        for row in model._default_manager.values():
            assert CANARY not in str(row), model.__name__
