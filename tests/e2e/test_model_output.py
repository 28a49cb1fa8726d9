"""What models and their servers make up, kept by a real PostgreSQL, which refuses more than SQLite does."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from agents import advance, transcript
from agents.loop import Observation, Request
from agents.models import ModelCall, Step, ToolCall
from agents.reasoners.calls import Call, _settle
from agents.reasoners.rungs import Rung
from tests.agents.conftest import a_step, model, servers

from . import openai_server as oai
from .on_postgres import on_postgres, server

__all__ = ["model", "on_postgres", "server", "servers"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]
TRIAGE = {"state": "unknown", "affected": [], "summary": "nobody can say"}
RUNG = Rung("model", "gpt-4o-mini", "http://model/v1", None, "OPENAI_API_KEY")


@pytest.mark.parametrize(
    "name",
    [
        "please_look_at_the_logs_of_the_container_and_tell_me_what_is_wrong",
        "look\x00",
        "\udc80look",
        "n" * 9_999,
    ],
    ids=["long", "NUL", "broken text", "endless"],
)
def test_a_tool_of_any_name_is_told_and_the_step_goes_on(model: Any, name: str) -> None:
    step = a_step("f", "critical")
    Step.objects.filter(pk=step.pk).update(state="waiting", due_at=timezone.now(), lease_until=None)

    def script(request: dict[str, Any]) -> Any:
        if len(request["messages"]) > 2:
            return oai.call_tools(oai.tool_call("submit_triage", TRIAGE))
        return oai.call_tools(oai.tool_call(name, {"a\x00": "b\x00"}))

    model(script)
    advance.advance(step.pk)
    step.refresh_from_db()
    assert (step.state, step.rung, step.error) == ("done", "model", "")
    asked = ToolCall.objects.exclude(error="").get()
    assert "there is no tool" in asked.error
    assert len(asked.tool) <= 60


@pytest.mark.parametrize("number", ["NaN", "1e999"])
def test_numbers_that_are_no_json_are_kept_as_text(number: str) -> None:
    step = a_step("f", "critical")
    transcript.recorder(step)(Observation(Request("c1", "look", {"lines": float(number)}), "", ""))
    assert ToolCall.objects.get().arguments == {"lines": str(float(number))}


@pytest.mark.parametrize(
    "response",
    [
        {"model": "m\x00"},
        {"model": "m" * 9_999},
        {"model": {"name": "m"}},
        {"model": "\udc80"},
        {"usage": {"prompt_tokens": 3_000_000_000, "completion_tokens": 9 * 10**18}},
    ],
    ids=["NUL", "long", "no name", "broken text", "counts"],
)
def test_whatever_a_server_says_of_itself_a_call_is_settled(response: dict[str, Any]) -> None:
    step = a_step("f", "critical")
    row = ModelCall.objects.create(step=step, model="m", endpoint="e", request={}, reserved_usd=1)
    _settle(row, Call(RUNG, {}, response, "", 1.0), step)
    kept = ModelCall.objects.get()
    assert kept.seconds == 1.0
    assert kept.model
    assert (kept.input_tokens, kept.output_tokens, kept.cost_usd) == (None, None, None)
