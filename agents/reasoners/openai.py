"""The model's reasoner: chat completions with tools, so that every OpenAI-compatible server works."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import openai
from django.conf import settings

from agents import budget, tools
from agents.answers import TERMINAL_TOOL
from agents.loop import Brief, Correction, Entry, Observation, Request, Turn
from agents.models import ModelCall, Step
from agents.reasoners import prompts
from incidents.redaction import clean, clean_tree

OFFERED_TOOLS = 8


class ModelError(Exception):
    """The model could not be asked or did not answer. `retryable`: it may work later."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


def configured() -> bool:
    return settings.OPENAI_BASE_URL is not None or settings.OPENAI_API_KEY is not None


def endpoint() -> str:
    """Scheme and host of the model's server, without credentials."""
    parts = urlsplit(settings.OPENAI_BASE_URL or "https://api.openai.com/v1")
    return f"{parts.scheme}://{parts.netloc.rsplit('@', 1)[-1]}{parts.path}"


@dataclass(frozen=True)
class OpenAIReasoner:
    """One agent's conversation with a model. `renew` keeps the step's lease, `record` writes each call."""

    client: openai.OpenAI
    model: str
    renew: Callable[[], None]
    record: Callable[[dict[str, Any], dict[str, Any] | None, str, float], None]
    rung: str = "model"

    @classmethod
    def from_settings(cls, step: Step) -> Self:
        client = openai.OpenAI(
            base_url=settings.OPENAI_BASE_URL,
            api_key=settings.OPENAI_API_KEY or "none",  # local servers want none, the SDK wants one
            timeout=settings.OPENAI_TIMEOUT_SECONDS,
            max_retries=0,  # the SDK would sleep through Retry-After and our lease
        )
        return cls(client, settings.OPENAI_MODEL, step.renew, _recorder(step))

    def next_turn(self, brief: Brief[Any], transcript: Sequence[Entry], *, final: bool) -> Turn:
        submit = TERMINAL_TOOL[brief.answer]
        offered = (
            []
            if final
            else [_as_function(tool.name, tool.description, tool.schema) for tool in _offer(brief)]
        )
        answer = _as_function(submit, brief.answer.__doc__ or submit, brief.answer.model_json_schema())
        request: dict[str, Any] = {
            "model": self.model,
            "messages": self._messages(brief, transcript, submit, final=final),
            "tools": [*offered, answer],
            "temperature": 0.1,
        }
        if final:
            request["tool_choice"] = {"type": "function", "function": {"name": submit}}
        return _read_turn(self._ask(request), submit, brief, _calls_so_far(transcript))

    def _messages(
        self, brief: Brief[Any], transcript: Sequence[Entry], submit: str, *, final: bool
    ) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": prompts.system(brief, submit)},
            {"role": "user", "content": prompts.case(brief)},
        ]
        for entry in transcript:
            messages.extend(_as_messages(entry))
        if final:
            text = f"This is your last turn: call {submit} now with what you know."
            messages.append({"role": "user", "content": text})
        return messages

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.renew()
        started = time.monotonic()
        try:
            completion = self.client.chat.completions.create(**request)
        except (openai.APIError, ValueError) as error:
            problem = _model_error(error)
            self.record(request, None, str(problem), time.monotonic() - started)
            raise problem from error
        response: dict[str, Any] = completion.model_dump(mode="json")
        self.record(request, response, "", time.monotonic() - started)
        return response


def _model_error(error: openai.APIError | ValueError) -> ModelError:
    """A 429 is both "slow down" and "no money left": this rung is of no use now in either case."""
    if isinstance(error, openai.APIStatusError):
        permanent = error.status_code in (400, 401, 403, 404)
        return ModelError(f"the model's server answered {error.status_code}", retryable=not permanent)
    if isinstance(error, openai.APIError):
        return ModelError(f"the model's server: {clean(str(error))}", retryable=True)
    return ModelError("the model's server answered with something that is not JSON", retryable=True)


def _offer(brief: Brief[Any]) -> list[tools.base.Tool]:
    """At most OFFERED_TOOLS: those of whose topics or integration the alert speaks, in a fixed order."""
    case = brief.case
    words = " ".join((case.alert_name, case.expression or "", case.target_kind or "", *case.labels)).lower()

    def relevance(tool: tools.base.Tool) -> int:
        hits = sum(topic in words for topic in tool.topics)
        return hits + 2 * (tool.integration.name == (case.target_kind or ""))

    ranked = sorted(brief.tools, key=relevance, reverse=True)[:OFFERED_TOOLS]
    return [tool for tool in brief.tools if tool in ranked]


def _as_function(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": dict(schema)},
    }


def _as_messages(entry: Entry) -> list[dict[str, Any]]:
    if isinstance(entry, Correction):
        return [{"role": "user", "content": entry.text}]
    request = entry.request
    arguments = json.dumps(dict(request.arguments or {}))
    call = {
        "id": request.id,
        "type": "function",
        "function": {"name": request.tool, "arguments": arguments},
    }
    # The id is in the text too: a claim names the call that it rests on.
    content = f"[{request.id}]\n{entry.text}"
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": request.id, "content": content},
    ]


def _calls_so_far(transcript: Sequence[Entry]) -> int:
    return sum(isinstance(entry, Observation) for entry in transcript)


def _read_turn(response: dict[str, Any], submit: str, brief: Brief[Any], so_far: int) -> Turn:
    """Tool calls or the answer. Servers that ignore tools answer with JSON in the content; taken too."""
    choices = response.get("choices") or []
    message = (choices[0].get("message") if choices else None) or {}
    calls = [call["function"] for call in message.get("tool_calls") or [] if call.get("function")]
    for call in calls:
        if call.get("name") == submit:
            return Turn(answer=_json_object(call.get("arguments")))
    if calls:
        return Turn(
            requests=tuple(
                _request(call, brief.call_id(so_far + place)) for place, call in enumerate(calls, start=1)
            )
        )
    content = message.get("content") or ""
    return Turn(
        answer=_json_object(content.strip().removeprefix("```json").removesuffix("```")), said=content
    )


def _request(call: dict[str, Any], call_id: str) -> Request:
    return Request(call_id, str(call.get("name")), _json_object(call.get("arguments")))


def _json_object(text: Any) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "{}") if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value else ({} if text in ("", "{}", None) else None)


def _recorder(step: Step) -> Callable[[dict[str, Any], dict[str, Any] | None, str, float], None]:
    def record(request: dict[str, Any], response: dict[str, Any] | None, error: str, seconds: float) -> None:
        usage = (response or {}).get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        tokens = {
            "input_tokens": usage.get("prompt_tokens"),
            "cached_tokens": details.get("cached_tokens"),
            "output_tokens": usage.get("completion_tokens"),
        }
        model = (response or {}).get("model") or request["model"]
        ModelCall.objects.create(
            step=step,
            attempt=step.attempts,
            model=model,
            endpoint=endpoint(),
            request=request,
            response=clean_tree(response),
            cost_usd=budget.price_usd(model=model, endpoint=endpoint(), **tokens),
            **tokens,
            error=error,
            seconds=seconds,
        )

    return record
