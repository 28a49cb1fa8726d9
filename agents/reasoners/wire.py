"""Chat completions as they go over the wire: a question in a server's dialect, and what comes back.

Models and servers have many habits. What can be read without a guess is read: calls as tool calls or as JSON
in the text, arguments as text or as an object, JSON in prose or behind thoughts. The rest is a `problem` that
the model is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.loop import NO_OBJECT, Request, Turn
from agents.prices import MOST_ANSWER_TOKENS
from agents.reasoners import strict
from agents.reasoners.dialects import Dialect, Mode
from incidents.redaction import too_deep

TEMPERATURE = 0.1
MOST_CALLS = 8  # of one turn; a model that runs wild asks for hundreds
MOST_OBJECTS = 50  # looked for in a text
MOST_TOKENS = 100_000_000  # more than any model takes: a server that says so counts wrongly
THOUGHTS = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
AS_TEXT = """\
Tool calls are written as text here. Answer with exactly one JSON object and nothing else:
{{"tool": NAME, "arguments": {{...}}}}
Each tool with the JSON schema of its arguments:
{functions}"""


@dataclass(frozen=True)
class Function:
    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked, in the protocol's richest form. `submit` names the function that ends the turn."""

    model: str
    messages: list[dict[str, Any]]
    functions: tuple[Function, ...]
    submit: str
    final: bool


@dataclass(frozen=True)
class Usage:
    """Tokens as the server counted them; None is what it did not say. Reasoning is part of the output."""

    input: int | None
    cached: int | None
    output: int | None
    reasoning: int | None


def body(question: Question, dialect: Dialect) -> dict[str, Any]:
    """The request's JSON."""
    found: dict[str, Any] = {"model": question.model}
    if dialect.with_tools:
        found["messages"] = question.messages
        # Only the answer is worth the longer schema: wrong arguments of a reading are told, and asked again.
        strictly = {question.submit} if dialect.mode is Mode.STRICT else set()
        found["tools"] = [_tool(each, strictly=each.name in strictly) for each in question.functions]
        if question.final and dialect.tool_choice:
            found["tool_choice"] = {"type": "function", "function": {"name": question.submit}}
    else:
        found["messages"] = _as_text(question)
        if dialect.mode is Mode.JSON:
            found["response_format"] = {"type": "json_object"}
    if dialect.temperature:
        found["temperature"] = TEMPERATURE
    if dialect.cap:
        found[dialect.cap] = MOST_ANSWER_TOKENS
    return found


def _tool(function: Function, *, strictly: bool) -> dict[str, Any]:
    described = {"name": function.name, "description": function.description}
    schema = strict.schema(function.schema) if strictly else None
    if schema is not None:
        return {"type": "function", "function": {**described, "parameters": schema, "strict": True}}
    return {"type": "function", "function": {**described, "parameters": dict(function.schema)}}


def _as_text(question: Question) -> list[dict[str, Any]]:
    """The conversation without tool calls; roles alternate, as some models' templates demand."""
    functions = "\n".join(
        f"- {each.name}: {each.description} {json.dumps(each.schema, separators=(',', ':'))}"
        for each in question.functions
    )
    told: list[dict[str, Any]] = []
    for message in question.messages:
        role, text = message["role"], message.get("content") or ""
        for call in message.get("tool_calls") or ():
            function = call["function"]
            text += json.dumps({"tool": function["name"], "arguments": json.loads(function["arguments"])})
        if role == "system":
            text = f"{text}\n\n{AS_TEXT.format(functions=functions)}"
        role = "user" if role == "tool" else role
        if told and told[-1]["role"] == role:
            told[-1]["content"] += f"\n\n{text}"
        else:
            told.append({"role": role, "content": text})
    return told


def read(response: Mapping[str, Any], submit: str, call_id: Callable[[int], str]) -> Turn:
    """What the model wants. `call_id` gives the id of the turn's n-th call, counted from 1."""
    choice = _first(response.get("choices"))
    message = _mapping(choice.get("message"))
    said = _text(message.get("content"))
    calls = list(_calls(message))
    if not calls:
        objects = list(_objects(THOUGHTS.sub("", said)))
        calls = [call for each in objects if (call := _written_call(each, submit))]
        if not calls and objects:
            answer = _arguments(objects[-1])
            return Turn(answer=answer, said=said, problem=f"the answer is {NO_OBJECT}")
    problem = _problem(choice, message)
    if not calls:
        return Turn(said=said, problem=problem or ("" if said.strip() else "the answer was empty"))
    for name, arguments in calls:
        if name == submit:
            problem = problem or f"the arguments of {submit} are {NO_OBJECT}"
            return Turn(answer=arguments, said=said, problem=problem)
    return Turn(
        requests=tuple(
            Request(call_id(place), name, arguments)
            for place, (name, arguments) in enumerate(calls[:MOST_CALLS], start=1)
        ),
        said=said,
    )


def _problem(choice: Mapping[str, Any], message: Mapping[str, Any]) -> str:
    if choice.get("finish_reason") == "length":
        return "the answer was cut off: be shorter"
    if message.get("refusal"):
        return "the model refused to answer"
    return ""


def has_tool_calls(response: Mapping[str, Any]) -> bool:
    return any(_calls(_mapping(_first(response.get("choices")).get("message"))))


def _first(choices: Any) -> Mapping[str, Any]:
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else {}


def _text(content: Any) -> str:
    """Content is text, or a list of parts of which some are text."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))


def _calls(message: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Name and arguments of each tool call; None are arguments that cannot be read."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            yield _name(function.get("name")), _arguments(function.get("arguments"))


def _written_call(value: Mapping[str, Any], submit: str) -> tuple[str, dict[str, Any] | None] | None:
    """The call that a JSON object in a text stands for, if it is one."""
    if set(value) == {submit}:
        return submit, _arguments(value[submit])
    inner = value.get("function")
    value = inner if isinstance(inner, Mapping) else value
    name = next((value[key] for key in ("tool", "name") if isinstance(value.get(key), str)), None)
    arguments = next((value[key] for key in ("arguments", "parameters", "input") if key in value), None)
    if name is None or arguments is None:
        return None
    return _name(name), _arguments(arguments)


def _name(name: Any) -> str:
    """Without the prefix and the marks that some models add: `functions.look`, `look<|channel|>json`."""
    return str(name).partition("<|")[0].rpartition(".")[2].strip()


def _arguments(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except (ValueError, RecursionError):
            return None
    if value is None:
        return {}
    return _no_nulls(value) if isinstance(value, Mapping) and not too_deep(value) else None


def _no_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    """A strict schema has every field; what is null in it was left out."""
    return {name: each for name, each in value.items() if each is not None}


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, outermost only, in their order."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    for _ in range(MOST_OBJECTS):
        if at < 0:
            return
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            yield value
        at = text.find("{", end)


def usage(response: Mapping[str, Any] | None) -> Usage:
    """Of an answer; all unknown when there is none or it does not say."""
    told = _mapping((response or {}).get("usage"))
    cached = _mapping(told.get("prompt_tokens_details")).get("cached_tokens")
    reasoning = _mapping(told.get("completion_tokens_details")).get("reasoning_tokens")
    return Usage(
        input=_count(told.get("prompt_tokens")),
        cached=_count(cached if cached is not None else told.get("prompt_cache_hit_tokens")),
        output=_count(told.get("completion_tokens")),
        reasoning=_count(reasoning),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: Any) -> int | None:
    counted = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if counted else None
