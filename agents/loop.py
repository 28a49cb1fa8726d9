"""The agent loop: ask a reasoner for a turn, run the tools it asks for, until it answers. No Django here.

Persistence is a callback: every tool call is handed to `record` as it happens, so a killed worker loses
nothing that was seen.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pydantic import ValidationError

from agents.answers import Answer
from agents.tools.base import Case, Result, Tool, ToolError
from incidents.redaction import clean, clean_tree

A = TypeVar("A", bound=Answer)

SHOWN_CHARACTERS = 4000  # about 1,000 tokens
MAX_MALFORMED = 2
IDENTICAL_READS = 2


class AgentFailed(Exception):
    """An agent ended without an answer; the ladder goes down a rung."""


@dataclass(frozen=True)
class Request:
    """A tool call that a reasoner asks for. `arguments` is None when they could not be read."""

    id: str
    tool: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True)
class Turn:
    """What a reasoner says: tool calls, or the arguments of its terminal tool; neither is malformed."""

    requests: tuple[Request, ...] = ()
    answer: Mapping[str, Any] | None = None
    said: str = ""


@dataclass(frozen=True)
class Observation:
    """A tool's answer as the agent sees it; `text` is capped, `full` is what is kept."""

    request: Request
    text: str
    full: str
    data: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Correction:
    """Told to a reasoner whose turn could not be used."""

    text: str


Entry = Observation | Correction


@dataclass(frozen=True)
class Brief(Generic[A]):
    """An agent's task: who it is, the case, its tools, the form of its answer, what others found."""

    agent: str
    case: Case
    answer: type[A]
    tools: tuple[Tool, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)
    number: int = 1  # of this agent's turns in the run

    def call_id(self, place: int) -> str:
        """The id of a tool call, unique in its run: `analyst-3`, in a second turn `analyst2-3`."""
        return f"{self.agent}{self.number if self.number > 1 else ''}-{place}"


@dataclass(frozen=True)
class Limits:
    steps: int = 8
    seconds: float = 90.0


class Reasoner(Protocol):
    """Decides an agent's next turn. On `final` it must answer, without tools."""

    @property
    def rung(self) -> str: ...

    def next_turn(self, brief: Brief[Any], transcript: Sequence[Entry], *, final: bool) -> Turn: ...


Record = Callable[[Observation], None]


@dataclass
class Toolbox:
    """Runs the tools of a brief: capped, redacted, each identical read at most twice."""

    brief: Brief[Any]
    record: Record
    seen: Counter[str] = field(default_factory=Counter)

    def call(self, request: Request) -> Observation:
        started = time.monotonic()
        try:
            result = self._run(request)
            full, data, error = clean(result.text), clean_tree(result.data), ""
        except ToolError as problem:
            full, data, error = "", {}, clean(str(problem))
        observation = Observation(
            request=request,
            text=cap(full) if not error else f"error: {error}",
            full=full,
            data=data,
            error=error,
            seconds=time.monotonic() - started,
        )
        self.record(observation)
        return observation

    def _run(self, request: Request) -> Result:
        tool = next((each for each in self.brief.tools if each.name == request.tool), None)
        if tool is None:
            offered = ", ".join(each.name for each in self.brief.tools) or "none"
            raise ToolError(f"there is no tool {request.tool!r} here; offered: {offered}")
        if request.arguments is None:
            raise ToolError("the arguments are no JSON object")
        key = f"{request.tool} {json.dumps(request.arguments, sort_keys=True, default=str)}"
        self.seen[key] += 1
        if self.seen[key] > IDENTICAL_READS:
            raise ToolError("this was asked twice with the same arguments; use what it said")
        return tool.call(self.brief.case, request.arguments)


def cap(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """The beginning and the end of a long text, with a hint how to see the rest."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 2], text[-limit // 2 :]
    left = len(text) - limit
    return f"{head}\n… {left} characters left out: narrow the query (match, lines, a selector) …\n{tail}"


def run_agent(brief: Brief[A], reasoner: Reasoner, toolbox: Toolbox, limits: Limits) -> A:
    """An agent's answer, or AgentFailed. The last turn is asked without tools, so it always answers."""
    transcript: list[Entry] = []
    malformed = 0
    deadline = time.monotonic() + limits.seconds
    for number in range(1, limits.steps + 1):
        final = number == limits.steps or time.monotonic() > deadline
        turn = reasoner.next_turn(brief, transcript, final=final)
        if turn.requests and not final:
            transcript.extend(toolbox.call(request) for request in turn.requests)
            continue
        answer, problem = _read_answer(brief, turn)
        if answer is not None:
            return answer
        malformed += 1
        if malformed > MAX_MALFORMED or final:
            raise AgentFailed(f"{brief.agent}: {problem}")
        transcript.append(Correction(problem))
    raise AgentFailed(f"{brief.agent}: no answer in {limits.steps} steps")


def _read_answer(brief: Brief[A], turn: Turn) -> tuple[A | None, str]:
    if turn.answer is None:
        return None, "answer by calling the submit tool, or call one of the tools offered"
    try:
        return brief.answer.model_validate(clean_tree(turn.answer)), ""
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return None, "the answer does not fit its form: " + "; ".join(problems)
