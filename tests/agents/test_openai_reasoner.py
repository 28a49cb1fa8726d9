"""The model's reasoner against a real HTTP server that speaks the protocol, and the rung below it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from agents import cases, reasoners
from agents.answers import Triage
from agents.loop import Brief
from agents.models import ModelCall, Step
from agents.reasoners import prompts
from agents.tools import available
from incidents.queue import State
from tests.agents.conftest import Script
from tests.e2e import openai_server as oai

pytestmark = pytest.mark.django_db
TRIAGE = {"state": "unknown", "affected": [], "summary": "nobody can say"}


def think(step: Step) -> Triage:
    brief = Brief("monitor", cases.build(step.run.incident), Triage, tuple(available()), {"reading": None})
    return reasoners.think(step, brief)


def test_a_model_answers_through_its_submit_tool(model, step: Step) -> None:
    server = model(lambda request: oai.call_tools(oai.tool_call("submit_triage", TRIAGE)))
    assert think(step).summary == "nobody can say"
    assert step.rung == "model"
    [request] = server.chats
    assert request["messages"][0]["role"] == "system"
    assert len(request["tools"]) <= 9  # at most eight to read with, and the one that answers


def test_every_call_is_recorded_with_its_tokens_and_an_unknown_price_is_null(model, step: Step) -> None:
    model(lambda request: oai.call_tools(oai.tool_call("submit_triage", TRIAGE)))
    think(step)
    call = ModelCall.objects.get()
    assert call.input_tokens > 100
    assert step.brief["case"]["alert_name"] == step.run.incident.alert_name  # what a replay starts from
    assert "hunter2" not in json.dumps(step.brief)
    assert call.output_tokens > 0
    assert call.cost_usd is None
    assert call.request["messages"]
    assert call.prompts == prompts.load().version
    assert call.response["choices"]


def test_no_secret_and_no_closing_mark_of_the_alert_reaches_the_model(model, step: Step) -> None:
    server = model(lambda request: oai.call_tools(oai.tool_call("submit_triage", TRIAGE)))
    think(step)
    sent = server.requests[-1].body.decode()
    assert "hunter2" not in sent
    user = server.chats[0]["messages"][1]["content"]
    assert user.count("</untrusted>") == 1
    assert user.endswith("</untrusted>")


def test_tools_are_called_and_their_output_comes_back_with_its_id(model, step: Step) -> None:
    def script(request: dict[str, Any]) -> Any:
        last = request["messages"][-1]
        if last["role"] != "tool":
            return oai.call_tools(oai.tool_call("recall_incidents", {}))
        assert last["content"].startswith("[monitor-1]\n")
        assert last["tool_call_id"] == "monitor-1"
        return oai.call_tools(oai.tool_call("submit_triage", TRIAGE))

    model(script)
    think(step)
    assert step.tool_calls.get().tool == "recall_incidents"


def test_a_server_that_ignores_tools_may_answer_in_json(model, step: Step) -> None:
    model(lambda request: oai.say(f"```json\n{json.dumps(TRIAGE)}\n```"))
    assert think(step).summary == "nobody can say"
    assert step.rung == "model"


def test_the_last_turn_offers_the_answer_alone(model, step: Step) -> None:
    def script(request: dict[str, Any]) -> Any:
        names = [tool["function"]["name"] for tool in request["tools"]]
        if names == ["submit_triage"]:
            return oai.call_tools(oai.tool_call("submit_triage", TRIAGE))
        return oai.call_tools(oai.tool_call("recall_incidents", {"query": f"q{len(request['messages'])}"}))

    server = model(script)
    think(step)
    assert len(server.chats) == 4
    assert step.rung == "model"


DOWN: list[tuple[str, Script, str]] = [
    ("no money or too fast", lambda request: oai.rate_limited(60), "429"),
    ("broken", lambda request: oai.error(500, "oh"), "500"),
    ("half an answer", lambda request: oai.malformed(), "not JSON"),
    ("silent", lambda request: oai.Response(hang=True), "timed out"),
    ("prose, three times", lambda request: oai.say("It is resolved!"), "submit tool"),
    ("wrong form", lambda request: oai.call_tools(oai.tool_call("submit_triage", {"state": "x"})), "state"),
    ("broken arguments", lambda request: oai.call_tools(oai.tool_call("submit_triage", "{")), "no JSON"),
]


@pytest.mark.parametrize(("script", "why"), [case[1:] for case in DOWN], ids=[case[0] for case in DOWN])
def test_a_model_that_fails_hands_over_to_the_playbooks_and_says_why(
    model, step: Step, script: Script, why: str
) -> None:
    model(script)
    assert think(step).state == "unknown"
    assert step.rung == "playbooks"
    assert why in step.rung_reason
    if "server" in step.rung_reason:
        assert ModelCall.objects.filter(error__contains=why).exists()


def test_a_wrong_key_is_a_reason_too(model, step: Step, settings) -> None:
    model(lambda request: oai.say("x"), api_key="right")
    settings.OPENAI_API_KEY = "wrong"
    think(step)
    assert "401" in step.rung_reason


def test_a_spent_budget_asks_no_model(model, step: Step, settings) -> None:
    server = model(lambda request: oai.call_tools(oai.tool_call("submit_triage", TRIAGE)))
    settings.LLM_BUDGET_DAILY_USD, settings.AGENT_USD = 0.5, 1.0
    ModelCall.objects.create(step=step, model="m", endpoint="e", request={}, cost_usd="0.50")
    think(step)
    assert server.chats == []
    assert step.rung_reason == "model: the daily budget is spent: $0.50 of $0.50"


def test_without_a_model_the_reason_is_on_the_step(step: Step) -> None:
    think(step)
    assert (step.rung, step.rung_reason) == ("playbooks", "no model is configured")


def test_what_the_sdk_looks_at_is_loaded_before_it_is_asked() -> None:
    """The SDK fails when another thread has loaded half of httpx."""
    code = (
        "import sys, django; django.setup(); from agents.reasoners import openai\n"
        "openai._client('http://127.0.0.1:1/v1', None); assert 'httpx' in sys.modules"
    )
    variables = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", code], check=True, env=variables)


def test_a_lost_lease_ends_the_conversation(model, step: Step) -> None:
    server = model(lambda request: oai.call_tools(oai.tool_call("submit_triage", TRIAGE)))
    Step.objects.filter(pk=step.pk).update(state=State.RUNNING, fence=step.fence + 1)
    with pytest.raises(RuntimeError):
        think(step)
    assert server.chats == []
