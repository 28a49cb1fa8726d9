"""The model's reasoner: chat completions with tools, so that every OpenAI-compatible server works."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Self

import httpx2
import openai
from django.conf import settings
from django.utils import timezone

from agents import budget
from agents.answers import TERMINAL_TOOL, Answer
from agents.loop import Brief, Correction, Entry, Observation, Turn
from agents.models import ModelCall, Step
from agents.reasoners import dialects, prompts, wire
from agents.reasoners.masking import masked
from agents.reasoners.rungs import Rung
from agents.schemas import schema_of
from incidents.redaction import HIDDEN, clean, clean_tree

MOST_ANSWER_BYTES = 8 * 1024 * 1024
SHORT_WAIT_SECONDS = 20.0  # a Retry-After that is waited for; after a longer one, the next rung is faster
LONG_PAUSE_SECONDS = 900.0  # for what only a person heals: a wrong key, no money
BUSY_PAUSE_SECONDS = 60.0  # for a server that is busy and does not say for how long
LEAST_SECONDS = 1.0  # less is not worth a call
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
    worth another try. `status` is HTTP's.
    """

    def __init__(
        self,
        message: str,
        *,
        pause: float | None = None,
        trouble: bool = True,
        again_in: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.pause = pause
        self.trouble = trouble
        self.again_in = again_in
        self.status = status


@dataclass(frozen=True)
class Call:
    """One request to a model as it went: sent, answered, and what it took. Unknown cost is None."""

    server: Rung
    request: dict[str, Any]
    response: dict[str, Any] | None
    error: str
    seconds: float

    @property
    def model(self) -> str:
        """As the server names it, which may be more exact than what was asked for."""
        return str((self.response or {}).get("model") or self.server.model)[:120]

    @property
    def usage(self) -> wire.Usage:
        return wire.usage(self.response)

    @property
    def cost_usd(self) -> Decimal | None:
        usage = self.usage
        return budget.price_usd(
            model=self.model,
            endpoint=self.server.endpoint,
            input_tokens=usage.input,
            cached_tokens=usage.cached,
            output_tokens=usage.output,
        )


def nothing_against_it() -> str | None:
    return None


@dataclass(frozen=True)
class OpenAIReasoner:
    """One agent's conversation with a model, up to `deadline` (of `time.monotonic()`).

    `renew` keeps the step's lease, `record` is told each call, `refusal` says before each call why there must
    be none.
    """

    server: Rung
    renew: Callable[[], None]
    record: Callable[[Call], None]
    words: prompts.Prompts
    deadline: float
    refusal: Callable[[], str | None] = nothing_against_it

    @classmethod
    def for_step(cls, step: Step, server: Rung, *, seconds: float, refusal: Callable[[], str | None]) -> Self:
        words = prompts.load()
        record = recorder(words, step=step)
        return cls(server, step.renew, record, words, time.monotonic() + seconds, refusal)

    @property
    def rung(self) -> str:
        return self.server.name

    def next_turn(self, brief: Brief[Any], transcript: Sequence[Entry], *, final: bool) -> Turn:
        form: type[Answer] = brief.answer
        submit = TERMINAL_TOOL[form]
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
        while True:
            try:
                call = self._patiently(wire.body(question, dialect))
            except ModelError as error:
                simpler = dialect.simpler(error.status, str(error)) if error.status else None
                if simpler is None:
                    raise
                dialect = simpler
            else:
                dialects.keep(self.server, replace(dialect, proved=True))
                return call

    def _learn(self, call: Call, turn: Turn) -> None:
        """A server that takes tools and whose model never calls one is asked in JSON mode from now on."""
        dialect = dialects.of(self.server)
        if not dialect.with_tools or dialect.calls_tools:
            return
        if wire.has_tool_calls(call.response or {}):
            dialects.keep(self.server, replace(dialect, calls_tools=True))
        elif not turn.requests and turn.answer is None and not turn.problem:  # plain prose
            dialects.keep(self.server, replace(dialect, mode=dialects.Mode.JSON, proved=False))

    def _patiently(self, request: dict[str, Any]) -> Call:
        """One more try after a short Retry-After, or on a connection that was cut."""
        try:
            return self._call(request)
        except ModelError as error:
            wait = error.again_in
            if wait is None or time.monotonic() + wait + LEAST_SECONDS > self.deadline:
                raise
            self.renew()
            time.sleep(wait)
        return self._call(request)

    def _call(self, request: dict[str, Any]) -> Call:
        if why := self.refusal():
            raise ModelError(why, trouble=False)
        left = self.deadline - time.monotonic()
        if left < LEAST_SECONDS:
            raise ModelError("the agent's time is over", trouble=False)
        self.renew()
        started = time.monotonic()
        try:
            response = _post(self.server, request, min(left, settings.OPENAI_TIMEOUT_SECONDS))
        except ModelError as error:
            self.record(Call(self.server, request, None, str(error), time.monotonic() - started))
            raise
        call = Call(self.server, request, response, "", time.monotonic() - started)
        self.record(call)
        return call


@lru_cache(maxsize=4)
def _client(base_url: str, api_key: str | None) -> openai.OpenAI:
    """Shared, since making one takes 20 ms and its connections stay open."""
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
        with chat.create(**request, timeout=seconds) as response:
            text = _read(response.iter_bytes(), until)
    except (openai.APITimeoutError, httpx2.TimeoutException) as error:
        # A short time that our own deadline left says nothing about the server.
        patient = seconds >= settings.OPENAI_TIMEOUT_SECONDS
        raise ModelError(f"the model's server timed out after {seconds:.0f} s", trouble=patient) from error
    except openai.APIStatusError as error:
        raise _refused(server, error) from error
    except (openai.APIError, httpx2.HTTPError) as error:
        what = f"the connection to the model's server failed: {_shown(server, str(error))}"
        raise ModelError(what, again_in=0.0) from error
    except ValueError as error:  # a key that no header takes; the error's own text would show it
        raise ModelError(f"the model could not be asked: {type(error).__name__}") from None
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError("the model's server answered with something that is not JSON") from error
    if not isinstance(answer, dict) or not answer.get("choices"):
        told = answer.get("error") if isinstance(answer, dict) else None
        raise ModelError(f"the model's server answered without a choice: {_shown(server, str(told))}")
    return answer


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


def recorder(
    words: prompts.Prompts, *, step: Step | None = None, replay_of: Step | None = None
) -> Callable[[Call], None]:
    """Writes each call as a row, of a step or of a replay of one."""
    worked = step or replay_of

    def record(call: Call) -> None:
        usage = call.usage
        ModelCall.objects.create(
            step=step,
            replay_of=replay_of,
            attempt=worked.fence if worked else 1,
            prompts=words.version,
            model=call.model,
            endpoint=call.server.endpoint[:200],
            request=call.request,
            response=clean_tree(call.response),
            input_tokens=usage.input,
            cached_tokens=usage.cached,
            output_tokens=usage.output,
            reasoning_tokens=usage.reasoning,
            cost_usd=call.cost_usd,
            error=call.error,
            seconds=call.seconds,
        )

    return record
