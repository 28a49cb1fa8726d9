"""The protocol as servers and models really speak it: each habit on real HTTP, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents import cases, reasoners
from agents.answers import Triage
from agents.loop import Brief
from agents.models import ModelCall, Step
from agents.prices import MOST_ANSWER_TOKENS
from agents.reasoners import strict
from agents.tools import available
from incidents.redaction import TOO_DEEP
from tests.agents.conftest import Script, next_step
from tests.e2e import openai_server as oai

pytestmark = pytest.mark.django_db
TRIAGE = {"state": "unknown", "affected": [], "summary": "nobody can say"}
Json = dict[str, Any]


def brief_of(step: Step) -> Brief[Triage]:
    return Brief("monitor", cases.build(step.run.incident), Triage, tuple(available()), {"reading": None})


def think(step: Step) -> Triage:
    return reasoners.think(step, brief_of(step))


def submit(arguments: Json | str = TRIAGE, name: str = "submit_triage") -> Json:
    return oai.call_tools(oai.tool_call(name, arguments))


def raw_call(arguments: Any) -> Json:
    """A tool call whose arguments go out as they are, which need not be text."""
    function = {"name": "submit_triage", "arguments": arguments}
    return {"tool_calls": [{"type": "function", "function": function}]}


NESTED = '{"summary":' * 900 + "0" + "}" * 900
PROSE = f'I looked. {{"a": 1}} would be wrong. My answer is:\n{json.dumps(TRIAGE)}\nThat is all.'
CALL = json.dumps({"tool": "recall_incidents", "arguments": {}})
WRITTEN = json.dumps({"name": "submit_triage", "arguments": TRIAGE})
ANSWERS: dict[str, Json] = {
    "arguments as an object": raw_call(TRIAGE),
    "a null where nothing is meant": submit({**TRIAGE, "affected": None}),
    "a prefix before the name": submit(name="functions.submit_triage"),
    "a mark behind the name": submit(name="submit_triage<|channel|>commentary"),
    "empty text beside the call": {**submit(), "content": ""},
    "prose beside the call": {**submit(), "content": "Let me submit this."},
    "json in a fence": oai.say(f"```json\n{json.dumps(TRIAGE)}\n```"),
    "json in prose": oai.say(PROSE),
    "json behind thoughts": oai.say(f"<think>{CALL}? No need.</think>{json.dumps(TRIAGE)}"),
    "a call written as text": oai.say(f"<tool_call>\n{WRITTEN}\n</tool_call>"),
    "the answer under its name": oai.say({"submit_triage": TRIAGE}),
    "content in parts": {"content": [{"type": "text", "text": json.dumps(TRIAGE)}]},
    "null for no calls": {"content": json.dumps(TRIAGE), "tool_calls": None},
}


@pytest.mark.parametrize("message", ANSWERS.values(), ids=list(ANSWERS))
def test_an_answer_is_read_in_whatever_form_it_comes(model, step: Step, message: Json) -> None:
    server = model(lambda request: message)
    assert think(step).summary == "nobody can say"
    assert (step.rung, len(server.chats)) == ("model", 1)


def test_parallel_calls_are_all_run_and_each_gets_its_answer(model, step: Step) -> None:
    def script(request: Json) -> Json:
        told = [each for each in request["messages"] if each["role"] == "tool"]
        if not told:
            return oai.call_tools(
                *[oai.tool_call("recall_incidents", {"query": word}) for word in ("one", "two", "three")]
            )
        assert [each["tool_call_id"] for each in told] == ["monitor-1", "monitor-2", "monitor-3"]
        return submit()

    model(script)
    think(step)
    assert step.tool_calls.filter(tool="recall_incidents", error="").count() == 3


def test_a_turn_of_hundreds_of_calls_is_cut(model, step: Step) -> None:
    def script(request: Json) -> Json:
        if len(request["messages"]) > 2:
            return submit()
        return oai.call_tools(*[oai.tool_call("recall_incidents", {"query": str(n)}) for n in range(300)])

    model(script)
    think(step)
    assert step.tool_calls.count() == 8


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (oai.say(""), "the answer was empty"),
        ({"content": None}, "the answer was empty"),
        ({"content": None, "refusal": "I cannot help with that."}, "refused"),
        (submit('{"state": "unknown", "summ'), "no JSON object"),
        (oai.Response(message=submit('{"state": "unk'), finish_reason="length"), "be shorter"),
        (submit({"state": "perhaps", "summary": "x"}), "state"),
        (oai.call_tools(oai.tool_call("reboot_everything", {})), "there is no tool 'reboot_everything'"),
        (oai.call_tools(oai.tool_call("recall_incidents", '{"query": "oom')), "no JSON object"),
        (submit(NESTED), "of at most 50 levels"),
        (raw_call(json.loads(NESTED)), "of at most 50 levels"),
        (oai.say(NESTED), "of at most 50 levels"),
        (oai.call_tools(oai.tool_call("recall_incidents", NESTED)), "of at most 50 levels"),
    ],
    ids=[
        "empty",
        "null",
        "refusal",
        "truncated",
        "cut off",
        "wrong form",
        "wrong tool",
        "truncated call",
        "nested",
        "nested and no text",
        "nested in prose",
        "nested call",
    ],
)
def test_what_cannot_be_read_is_told_to_the_model_which_may_do_better(
    model, step: Step, message: Any, says: str
) -> None:
    def script(request: Json) -> Any:
        if len(request["messages"]) == 2:
            return message
        assert says in json.dumps(request["messages"][-1], ensure_ascii=False)
        return submit()

    model(script)
    assert think(step).summary == "nobody can say"
    assert step.rung == "model"


def test_what_a_server_nests_beside_its_answer_is_kept_as_far_as_it_can_be(model, step: Step) -> None:
    model(lambda request: {**submit(), "thoughts": json.loads(NESTED)})
    think(step)
    assert step.rung == "model"
    [call] = step.model_calls.all()
    assert TOO_DEEP in json.dumps(call.response)


def test_malformed_calls_are_borne_twice(model, step: Step, settings) -> None:
    settings.AGENT_STEPS = 8
    server = model(lambda request: oai.call_tools(oai.tool_call("reboot_everything", {})))
    settings.AGENT_STEPS = 8
    think(step)
    assert step.rung == "playbooks"
    assert "malformed calls: there is no tool 'reboot_everything'" in step.rung_reason
    assert len(server.chats) == 3


# --- servers that take less than all of the protocol ---------------------------------------------


def form(request: Json) -> str:
    """Which way of asking a request is."""
    if "tools" in request:
        return "strict" if any("strict" in tool["function"] for tool in request["tools"]) else "tools"
    return "json" if "response_format" in request else "prompt"


def takes(forms: tuple[str, ...], refusal: oai.Response) -> Script:
    """A server that refuses the other ways, with a model that reads once and then answers."""

    def script(request: Json) -> Any:
        if form(request) not in forms:
            return refusal
        if "tools" in request:
            calls = oai.tool_call("recall_incidents", {}), oai.tool_call("submit_triage", TRIAGE)
            read = request["messages"][-1]["role"] == "tool"
            return oai.call_tools(calls[1] if read else calls[0])
        system, *_, last = request["messages"]
        roles = [message["role"] for message in request["messages"]]
        assert roles == ["system", *["user", "assistant"] * 9][: len(roles)]
        assert '"affected"' in system["content"]  # the schema
        if "[monitor-1]" in last["content"]:
            return oai.say({"tool": "submit_triage", "arguments": TRIAGE})
        return oai.say({"tool": "recall_incidents", "arguments": {}})

    return script


NO_TOOLS = oai.error(400, "registry.ollama.ai/library/gemma:2b does not support tools")
NO_PARSER = oai.error(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser')
NO_JINJA = oai.error(500, "tools param requires --jinja flag")
NO_SCHEMA = oai.error(500, "failed to parse grammar")
SERVERS: dict[str, tuple[tuple[str, ...], oai.Response]] = {
    "no strict schemas": (("tools", "json", "prompt"), oai.error(400, "Unknown field: strict")),
    "a schema answers 500": (("tools",), NO_SCHEMA),
    "no tools, says 400": (("json", "prompt"), NO_TOOLS),
    "no parser of tool calls": (("json", "prompt"), NO_PARSER),
    "no tools, says 500": (("json",), NO_JINJA),
    "no tools, says 422": (("json",), oai.error(422, "unexpected property: tools")),
    "no tools, says 404": (("json",), oai.error(404, "No endpoints found that support tool use.")),
    "500 without a word": (("json",), oai.error(500, "")),
    "nothing but a prompt": (("prompt",), oai.error(400, "This response_format type is unavailable now")),
}


@pytest.mark.parametrize(("forms", "refusal"), SERVERS.values(), ids=list(SERVERS))
def test_a_server_is_asked_in_the_best_way_that_it_takes_and_that_is_remembered(
    model, step: Step, forms: tuple[str, ...], refusal: oai.Response
) -> None:
    server = model(takes(forms, refusal))
    assert think(step).summary == "nobody can say"
    assert (step.rung, step.tool_calls.count()) == ("model", 1)
    tried = len(server.chats)
    think(next_step(step.run))
    assert {form(request) for request in server.chats[tried:]} == {forms[0]}


def test_roles_alternate_where_there_are_no_tool_calls(model, step: Step) -> None:
    """Some models' templates take nothing else."""

    def script(request: Json) -> Any:
        if "tools" in request:
            return NO_TOOLS
        roles = [message["role"] for message in request["messages"]]
        if roles != ["system", *["user", "assistant"] * 9][: len(roles)]:
            return oai.error(500, "Conversation roles must alternate user/assistant/user/assistant/...")
        wrong = "does not fit its form" not in request["messages"][-1]["content"]
        return oai.say({"state": "perhaps", "summary": "x"} if wrong else TRIAGE)

    model(script)
    think(step)
    assert (step.rung, step.rung_reason) == ("model", "")


def test_a_server_that_ignores_tools_is_asked_in_json_from_then_on(model, step: Step) -> None:
    def script(request: Json) -> Json:
        if "tools" in request:
            return oai.say("I think that the container is down.")  # as if there were none
        return oai.say({"tool": "submit_triage", "arguments": TRIAGE})

    server = model(script)
    think(step)
    think(next_step(step.run))
    assert [form(request) for request in server.chats] == ["strict", "json", "json"]


def test_a_model_that_once_called_a_tool_is_not_asked_in_json_for_a_word_of_prose(model, step: Step) -> None:
    turns = iter([oai.call_tools(oai.tool_call("recall_incidents", {})), oai.say("Hm."), submit()])
    server = model(lambda request: next(turns))
    think(step)
    assert {form(request) for request in server.chats} == {"strict"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("temperature", "Unsupported value: 'temperature' does not support 0.1 with this model."),
        ("tool_choice", "tool_choice is not supported by this model"),
    ],
)
def test_a_parameter_that_is_refused_is_left_out(model, step: Step, settings, name: str, words: str) -> None:
    server = model(lambda request: oai.error(400, words) if name in request else submit())
    settings.AGENT_STEPS = 1  # the last turn at once: it chooses the tool
    settings.INCIDENT_STEPS = 100
    assert think(step).summary == "nobody can say"
    assert name in server.chats[0]
    assert name not in server.chats[-1]
    assert form(server.chats[-1]) == "strict"


def test_an_answer_has_an_end_in_the_words_that_its_server_takes(model, step: Step) -> None:
    words = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
    )
    server = model(lambda request: oai.error(400, words) if "max_tokens" in request else submit())
    think(step)
    assert server.chats[0]["max_tokens"] == MOST_ANSWER_TOKENS
    assert server.chats[1]["max_completion_tokens"] == MOST_ANSWER_TOKENS
    think(next_step(step.run))
    assert len(server.chats) == 3


@pytest.mark.parametrize(
    "words",
    [
        "max_completion_tokens, max_tokens: extra inputs are not permitted",
        "maximum context length is 8192 tokens, you requested 9100 (8000 of them in the completion)",
    ],
)
def test_a_server_that_takes_no_end_is_asked_without(model, step: Step, words: str) -> None:
    capped = {"max_tokens", "max_completion_tokens"}
    server = model(lambda request: oai.error(400, words) if capped & request.keys() else submit())
    assert think(step).summary == "nobody can say"
    assert not capped & server.chats[-1].keys()
    assert form(server.chats[-1]) == "strict"


def test_a_500_of_a_server_that_worked_before_is_an_outage(model, step: Step) -> None:
    answers: list[Any] = [submit(), oai.error(500, "The server had an error")]
    server = model(lambda request: answers.pop(0))
    think(step)
    later = next_step(step.run)
    think(later)
    assert later.rung == "playbooks"
    assert len(server.chats) == 2


def test_a_server_that_refuses_how_a_reading_is_told_is_asked_in_a_simpler_form(model, step: Step) -> None:
    """As llama-cpp-python does: it offers tools, and wants text beside each call."""

    def script(request: Json) -> Any:
        if any(message["content"] is None for message in request["messages"]):
            return oai.error(500, "1 validation error: Input should be a valid string")
        if "monitor-1" in str(request):  # what it read is told
            return oai.say({"tool": "submit_triage", "arguments": TRIAGE})
        return oai.call_tools(oai.tool_call("recall_incidents", {"query": "disk"}))

    server = model(script)
    assert think(step).summary == "nobody can say"
    assert step.rung == "model"
    assert [form(request) for request in server.chats] == ["strict", "strict", "tools", "json"]


def test_a_prompt_that_is_too_long_is_not_sent_again_and_no_fault_of_the_server(model, step: Step) -> None:
    words = "This model's maximum context length is 4096 tokens, your messages and tools have 9000."
    server = model(lambda request: oai.error(400, words))
    for _ in range(4):
        think(step)
    assert len(server.chats) == 4  # one each: the breaker stays shut, no simpler form is tried
    assert "context length" in step.rung_reason


def test_an_error_that_comes_as_200_is_one(model, step: Step) -> None:
    model(lambda request: oai.Response(body={"error": {"message": "Provider returned error", "code": 502}}))
    think(step)
    assert "Provider returned error" in step.rung_reason


# --- usage ---------------------------------------------------------------------------------------


def test_cached_and_reasoning_tokens_are_kept(model, step: Step) -> None:
    usage = {
        "prompt_tokens": 2000,
        "completion_tokens": 300,
        "prompt_tokens_details": {"cached_tokens": 1500},
        "completion_tokens_details": {"reasoning_tokens": 250},
    }
    model(lambda request: oai.Response(message=submit(), usage=usage))
    think(step)
    call = ModelCall.objects.get()
    counted = (call.input_tokens, call.cached_tokens, call.output_tokens, call.reasoning_tokens)
    assert counted == (2000, 1500, 300, 250)


def test_usage_that_a_server_does_not_tell_is_unknown(model, step: Step) -> None:
    model(lambda request: oai.Response(message=submit(), usage=None))
    think(step)
    call = ModelCall.objects.get()
    assert (call.input_tokens, call.cached_tokens, call.output_tokens, call.reasoning_tokens) == (None,) * 4


@pytest.mark.parametrize("count", [-1, True, "9", 1.5, 2**31, 9 * 10**18])
def test_a_count_that_cannot_be_is_unknown(model, step: Step, count: Any) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 3}
    model(lambda request: oai.Response(message=submit(), usage=usage))
    think(step)
    call = ModelCall.objects.get()
    assert (call.input_tokens, call.output_tokens, call.cost_usd) == (None, 3, None)


def test_a_key_that_a_server_repeats_is_not_kept(model, step: Step, settings) -> None:
    settings.OPENAI_API_KEY = "plainkey123"
    model(lambda request: oai.error(401, "Incorrect API key provided: plainkey123"))
    think(step)
    assert "plainkey123" not in step.rung_reason + ModelCall.objects.get().error
    assert "401" in step.rung_reason


@pytest.mark.parametrize("key", ["schlüssel", "line\nbreak"])
def test_a_key_that_no_header_takes_is_a_reason_and_is_not_shown(
    model, step: Step, settings, caplog, key: str
) -> None:
    settings.OPENAI_API_KEY = key
    server = model(lambda request: submit())
    think(step)
    assert step.rung == "playbooks"
    assert server.requests == []
    errors = ModelCall.objects.values_list("error", flat=True)
    assert key not in "".join([step.rung_reason, *errors, caplog.text])


# --- strict schemas ------------------------------------------------------------------------------


def test_a_strict_schema_requires_every_field_and_lets_optional_ones_be_null() -> None:
    given = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 5},
            "lines": {"type": "integer", "default": 10, "maximum": 50},
            "kind": {"enum": ["a", "b"], "type": "string", "default": "a"},
        },
        "required": ["name"],
    }
    assert strict.schema(given) == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "lines": {"type": ["integer", "null"]},
            "kind": {"anyOf": [{"enum": ["a", "b"], "type": "string"}, {"type": "null"}]},
        },
        "required": ["name", "lines", "kind"],
        "additionalProperties": False,
    }


def test_an_object_with_any_names_has_no_strict_form() -> None:
    given = {"type": "object", "properties": {"labels": {"type": "object"}}, "required": ["labels"]}
    assert strict.schema(given) is None
