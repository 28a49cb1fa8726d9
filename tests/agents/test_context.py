"""What an agent sends over a whole conversation: what it sent before, and a little more."""

from __future__ import annotations

import json
import os.path
from itertools import pairwise
from typing import Any

import pytest

from agents import cases, reasoners
from agents.answers import Diagnosis
from agents.loop import Brief
from agents.models import Step, ToolCall
from agents.tools import REGISTRY
from agents.tools.base import Case, Health, Integration, Result, Tool, _arguments_model
from tests.e2e import openai_server as oai

pytestmark = pytest.mark.django_db
NEEDLE = "panic: the index is corrupt at page 4711"


def long_log(case: Case, page: int = 1) -> Result:
    """A page of a long log."""
    lines = [f"2026-11-23T04:00:00Z page {page} line {number} says nothing new" for number in range(2_000)]
    lines[800] = NEEDLE if page == 3 else lines[800]
    return Result("\n".join(lines))


INTEGRATION = Integration("test", lambda: True, lambda: Health(True, ""))
LONG_LOG = Tool(
    "long_log", "A page of a long log.", INTEGRATION, _arguments_model(long_log), long_log, ("down",)
)


def reader(pages: int) -> Any:
    """Reads so many pages, then quotes the line that matters, wherever it saw it."""
    seen: dict[str, str] = {}

    def answer(request: dict[str, Any]) -> Any:
        read = [message["content"] for message in request["messages"] if message["role"] == "tool"]
        if found := [each for each in read if NEEDLE in each]:
            seen[NEEDLE] = found[0].split("\n")[0].strip("[]")
        if len(read) < pages:
            return oai.call_tools(oai.tool_call("long_log", {"page": len(read) + 1}))
        claim = {"text": "the index", "call_id": seen.get(NEEDLE, "none"), "quote": NEEDLE}
        diagnosis = {"cause": "a corrupt index", "certainty": "CONFIRMED", "claims": [claim]}
        return oai.call_tools(oai.tool_call("submit_diagnosis", diagnosis))

    return answer


def converse(step: Step) -> Diagnosis:
    tools = (LONG_LOG, *REGISTRY.values())
    return reasoners.think(step, Brief("analyst", cases.build(step.run.incident), Diagnosis, tools))


def test_a_long_conversation_stays_small_and_is_mostly_what_was_sent_before(
    model, step: Step, settings
) -> None:
    server = model(reader(pages=6))
    settings.AGENT_STEPS = 8
    converse(step)
    prompts = [json.dumps([chat["tools"], chat["messages"]]) for chat in server.chats]
    assert len(prompts) == 7
    pairs = list(pairwise(prompts))
    shared = sum(len(os.path.commonprefix([*pair])) for pair in pairs)  # noqa: RUF071 of texts, not of paths
    assert shared >= 0.7 * sum(len(before) for before, _ in pairs)
    outputs = sum(len(output) for output in ToolCall.objects.values_list("output", flat=True))
    assert outputs > 500_000
    assert max(map(len, prompts)) < 25_000


def test_what_was_masked_later_may_still_be_quoted_and_is_kept_whole(model, step: Step, settings) -> None:
    server = model(reader(pages=6))
    settings.AGENT_STEPS = 8
    claim = converse(step).claims[0]
    last = [message["content"] for message in server.chats[-1]["messages"] if message["role"] == "tool"]
    assert NEEDLE not in "".join(last)
    assert NEEDLE in ToolCall.objects.get(call_id=claim.call_id).output


def test_no_clock_changes_the_begin_of_a_prompt(model, step: Step) -> None:
    server = model(reader(pages=1))
    converse(step)
    converse(step)
    first, again = server.chats[0], server.chats[2]
    assert json.dumps(first) == json.dumps(again)


def test_at_most_eight_tools_are_offered_always_in_the_same_order(model, step: Step) -> None:
    server = model(reader(pages=1))
    converse(step)
    names = [tool["function"]["name"] for tool in server.chats[0]["tools"]]
    assert len(names) <= 9
    assert names[-1] == "submit_diagnosis"
    assert "long_log" in names  # the alert speaks of it
    assert "recall_incidents" in names  # the memory is always there
    order = ["long_log", *REGISTRY]
    assert names[:-1] == sorted(names[:-1], key=order.index)
