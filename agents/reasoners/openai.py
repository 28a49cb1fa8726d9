"""The model's reasoner: chat completions with tools, so that every OpenAI-compatible server works."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Self

import httpx2
import openai
from django.conf import settings
from django.utils import timezone

from agents import spans
from agents.answers import Answer, terminal_tool
from agents.budget import NoMoney, NotYet
from agents.loop import Brief, Correction, Entry, Observation, Turn
from agents.models import Step
from agents.reasoners import dialects, prompts, wire
from agents.reasoners.calls import Begin, Call, Done, book
from agents.reasoners.masking import masked
from agents.reasoners.rungs import Rung
from agents.schemas import schema_of
from incidents.redaction import HIDDEN, clean

MOST_ANSWER_BYTES = 8 * 1024 * 1024
SHORT_WAIT_SECONDS = 20.0  # a Retry-After that is waited for; after a longer one, the next rung is faster
LONG_PAUSE_SECONDS = 900.0  # for what only a person heals: a wrong key, no money
BUSY_PAUSE_SECONDS = 60.0  # for a server that is busy and does not say for how long
LEAST_SECONDS = 1.0  # less is not worth a call
HELD_SECONDS = 15.0  # waited for money that other calls hold; most take less than they might
LOOK_AGAIN_SECONDS = 0.25
NO_MONEY = (
    "insufficient_quota",
    "billing",
    "credit balance",
    "insufficient balance",
    "exceeded your current quota",
)


class ModelError(Exception):
    """The model could not be asked, or did not answer; the ladder goes down a rung.

    `pause`: seconds to leave the server alone, None when it takes more such failures to do so. `trouble` is
    False when it is not the server that is at fault. `again_in`: seconds after which the same request is
    worth another try. `status` is HTTP's. `refused`: the server cannot have worked on the request.
    """

    def __init__(
        self,
        message: str,
        *,
        pause: float | None = None,
        trouble: bool = True,
        again_in: float | None = None,
        status: int | None = None,
        refused: bool = False,
    ) -> None:
        super().__init__(message)
        self.pause = pause
        self.trouble = trouble
        self.again_in = again_in
        self.status = status
        self.refused = refused or status is not None


@dataclass(frozen=True)
class OpenAIReasoner:
    """One agent's conversation with a model, up to `deadline` (of `time.monotonic()`).

    `begin` lets each call happen or not, and keeps what came of it.
    """

    server: Rung
    begin: Begin
    words: prompts.Prompts
    deadline: float

    @classmethod
    def for_step(cls, step: Step, server: Rung, *, seconds: float) -> Self:
        words = prompts.load()
        return cls(server, book(words, step=step), words, time.monotonic() + seconds)

    @property
    def rung(self) -> str:
        return self.server.name

    def next_turn(self, brief: Brief[Any], transcript: Sequence[Entry], *, final: bool) -> Turn:
        form: type[Answer] = brief.answer
        submit = terminal_tool(form)
        tools = [] if final else prompts.offer(brief)
        offered = [wire.Function(tool.name, tool.description, tool.schema) for tool in tools]
        answer = wire.Function(submit, form.__doc__ or submit, schema_of(form))
        messages = self._messages(brief, transcript, submit, final=final)
        question = wire.Question(self.server.model, messages, (*offered, answer), submit, final)
        call = self._ask(question)
        so_far = _calls_so_far(transcript)
        turn = wire.read(call.response or {}, submit, lambda place: brief.call_id(so_far + place))
        self._learn(call, turn)
        usage, cost = call.usage, call.cost_usd
        tokens = None if usage.input is None or usage.output is None else usage.input + usage.output
        return replace(turn, tokens=tokens, usd=None if cost is None else float(cost))

    def _messages(
        self, brief: Brief[Any], transcript: Sequence[Entry], submit: str, *, final: bool
    ) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": self.words.system(brief.agent, submit)},
            {"role": "user", "content": prompts.case(brief)},
        ]
        for entry in masked(transcript):
            messages.extend(_as_messages(entry))
        if final:
            text = f"This is your last turn: call {submit} now with what you know."
            messages.append({"role": "user", "content": text})
        return messages

    def _ask(self, question: wire.Question) -> Call:
        """An answer, asked for in the best way that the server takes."""
        dialect = dialects.of(self.server)
        readings = any(message["role"] == "tool" for message in question.messages)
        while True:
            try:
                call = self._patiently(wire.body(question, dialect))
            except ModelError as error:
                status = error.status
                simpler = dialect.simpler(status, str(error), readings=readings) if status else None
                if simpler is None:
                    raise
                dialect = simpler
            else:
                takes = readings or dialect.takes_readings
                dialects.keep(self.server, replace(dialect, proved=True, takes_readings=takes))
                return call

    def _learn(self, call: Call, turn: Turn) -> None:
        """A server that takes tools and whose model never calls one is asked in JSON mode from now on."""
        dialect = dialects.of(self.server)
        if not dialect.with_tools or dialect.calls_tools:
            return
        if wire.has_tool_calls(call.response or {}):
            dialects.keep(self.server, replace(dialect, calls_tools=True))
        elif not turn.requests and turn.answer is None and not turn.problem:  # plain prose
            dialects.keep(self.server, dialect.at(dialects.Mode.JSON))

    def _patiently(self, request: dict[str, Any]) -> Call:
        """One more try after a short Retry-After, or on a connection that was cut."""
        try:
            return self._call(request)
        except ModelError as error:
            wait = error.again_in
            if wait is None or time.monotonic() + wait + LEAST_SECONDS > self.deadline:
                raise
            time.sleep(wait)
        return self._call(request)

    def _call(self, request: dict[str, Any]) -> Call:
        if self.deadline - time.monotonic() < LEAST_SECONDS:
            raise ModelError("the agent's time is over", trouble=False)
        try:
            done = self._begin(request)
        except NoMoney as error:
            raise ModelError(str(error), trouble=False) from error
        with spans.chat(self.server.model, self.server.base_url) as span:
            call = self._send(request, done)
            usage = call.usage
            counts = {
                "input_tokens": usage.input,
                "output_tokens": usage.output,
                "cache_read.input_tokens": usage.cached,
                "reasoning.output_tokens": usage.reasoning,
            }
            spans.answered(span, call.response or {}, counts)
        return call

    def _send(self, request: dict[str, Any], done: Done) -> Call:
        started = time.monotonic()
        left = max(LEAST_SECONDS, self.deadline - started)
        try:
            response = _post(self.server, request, min(left, settings.OPENAI_TIMEOUT_SECONDS))
        except ModelError as error:
            took = time.monotonic() - started
            done(Call(self.server, request, None, str(error), took, refused=error.refused))
            raise
        call = Call(self.server, request, response, "", time.monotonic() - started)
        done(call)
        return call

    def _begin(self, request: dict[str, Any]) -> Done:
        """Let the call happen, be it after others."""
        until = min(time.monotonic() + HELD_SECONDS, self.deadline - LEAST_SECONDS)
        while True:
            try:
                return self.begin(self.server, request)
            except NotYet:
                if time.monotonic() > until:
                    raise
            time.sleep(LOOK_AGAIN_SECONDS)


@lru_cache(maxsize=4)
def _client(base_url: str, api_key: str | None) -> openai.OpenAI:
    """Shared, since making one takes 20 ms and its connections stay open."""
    # Of this the SDK uses what is loaded, be it half: Qdrant's client loads it at first use, in any thread.
    import httpx  # noqa: F401, PLC0415 not before a model is asked

    return openai.OpenAI(
        base_url=base_url,
        api_key=api_key or "none",  # local servers want none, the SDK wants one
        max_retries=0,  # the SDK would sleep through Retry-After and our deadline
    )


def _post(server: Rung, request: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The answer's JSON. The SDK's timeout is for each piece of it, so the sum is watched here."""
    until = time.monotonic() + seconds
    chat = _client(server.base_url, server.api_key).chat.completions.with_streaming_response
    try:
        # All of it is extra_body, which is sent as it is: the SDK would walk through the rest, part by part.
        with chat.create(model=server.model, messages=(), extra_body=request, timeout=seconds) as response:
            text = _read(response.iter_bytes(), until)
    except (openai.APITimeoutError, httpx2.TimeoutException) as error:
        # A short time that our own deadline left says nothing about the server.
        patient = seconds >= settings.OPENAI_TIMEOUT_SECONDS
        what = f"the model's server timed out after {seconds:.0f} s"
        raise ModelError(what, trouble=patient, refused=_never_there(error)) from error
    except openai.APIStatusError as error:
        raise _refused(server, error) from error
    except (openai.APIError, httpx2.HTTPError) as error:
        what = f"the connection to the model's server failed: {_shown(server, str(error))}"
        raise ModelError(what, again_in=0.0, refused=_never_there(error)) from error
    except ValueError as error:  # a key that no header takes; the error's own text would show it
        raise ModelError(f"the model could not be asked: {type(error).__name__}", refused=True) from None
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError("the model's server answered with something that is not JSON") from error
    if not isinstance(answer, dict) or not answer.get("choices"):
        told = answer.get("error") if isinstance(answer, dict) else None
        raise ModelError(f"the model's server answered without a choice: {_shown(server, str(told))}")
    return answer


def _never_there(error: Exception) -> bool:
    """Whether not even a connection came to be."""
    return isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)


def _read(chunks: Iterable[bytes], until: float) -> bytes:
    """The whole body; some proxies send a blank now and then while the model works, for ever if need be."""
    text = bytearray()
    for chunk in chunks:
        text += chunk
        if time.monotonic() > until:
            raise httpx2.ReadTimeout("the answer was not whole in time")
        if len(text) > MOST_ANSWER_BYTES:
            raise ModelError("the model's server answered without end")
    return bytes(text)


def _refused(server: Rung, error: openai.APIStatusError) -> ModelError:
    """What a status means for this request and for the next ones."""
    status, said = error.status_code, _shown(server, error.message)
    message = f"the model's server answered {status}: {said.removeprefix(f'Error code: {status} - ')}"
    if status in (401, 402, 403) or (status == 429 and any(word in said.lower() for word in NO_MONEY)):
        return ModelError(message, status=status, pause=LONG_PAUSE_SECONDS)
    wish = _retry_after(error.response.headers)
    if status == 429 or wish is not None:
        short = wish if wish is not None and wish <= SHORT_WAIT_SECONDS else None
        pause = BUSY_PAUSE_SECONDS if wish is None else wish
        return ModelError(message, status=status, pause=pause, again_in=short)
    return ModelError(message, status=status, trouble=not dialects.too_long(said))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or a date; None when it is not there or cannot be read."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after", "")
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - timezone.now()).total_seconds())
    except (ValueError, TypeError):
        return None


def _shown(server: Rung, text: str) -> str:
    """A server's words, short, without the key that some repeat."""
    text = text.replace(server.api_key, HIDDEN) if server.api_key else text
    return clean(text)[:200]


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
