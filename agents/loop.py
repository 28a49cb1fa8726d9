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

from agents import spans
from agents.answers import Answer
from agents.excerpt import excerpt
from agents.tools.base import Case, MalformedCall, Result, Tool, ToolError
from incidents.redaction import DEEPEST, clean, clean_tree

A = TypeVar("A", bound=Answer)

MAX_MALFORMED = 2
NO_OBJECT = f"no JSON object of at most {DEEPEST} levels"
LONGEST_NAME = 60  # of a tool, as it is kept
LAST_TURN_SHARE = 0.25  # of the seconds, kept back for the last turn
IDENTICAL_READS = 2


class AgentFailed(Exception):
    """An agent ended without an answer; the ladder goes down a rung."""


@dataclass(frozen=True)
class Request:
    """A tool call that a reasoner asks for. `arguments` is None when they could not be read.

    `tool` is made storable: a model may have made it up.
    """

    id: str
    tool: str
    arguments: Mapping[str, Any] | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tool", clean(self.tool[:LONGEST_NAME])[:LONGEST_NAME])


@dataclass(frozen=True)
class Turn:
    """What a reasoner says: tool calls, or the arguments of its terminal tool; neither is malformed.

    `problem` is what its sender can say about a malformed one. `tokens` and `usd` are what the turn took;
    None when nobody knows.
    """

    requests: tuple[Request, ...] = ()
    answer: Mapping[str, Any] | None = None
    said: str = ""
    problem: str = ""
    tokens: int | None = None
    usd: float | None = None


@dataclass(frozen=True)
class Observation:
    """A tool's answer: the agent sees `text`, an excerpt of `full`, which is kept. `turn` counts from 1."""

    request: Request
    text: str
    full: str
    data: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    seconds: float | None = None
    turn: int = 1
    malformed: bool = False  # no such tool, or wrong arguments


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
    """Of one conversation; None is no limit. Of each, enough is kept back for a last turn without tools."""

    steps: int = 8
    seconds: float = 90.0
    tokens: int | None = None
    usd: float | None = None


class Reasoner(Protocol):
    """Decides an agent's next turn. On `final` it must answer, without tools."""

    @property
    def rung(self) -> str: ...

    def next_turn(self, brief: Brief[Any], transcript: Sequence[Entry], *, final: bool) -> Turn: ...


Record = Callable[[Observation], None]


@dataclass
class Toolbox:
    """Runs the tools of a brief: capped, redacted, each identical read at most twice.

    `found` is all that was read: when a reasoner fails, the next one begins with it.
    """

    brief: Brief[Any]
    record: Record
    seen: Counter[str] = field(default_factory=Counter)
    found: list[Observation] = field(default_factory=list)

    def call(self, request: Request, *, turn: int = 1) -> Observation:
        started = time.monotonic()
        malformed = False
        known = request.tool if any(each.name == request.tool for each in self.brief.tools) else None
        try:
            with spans.tool(known, request.id):
                result = self._run(request)
            full, data, error = clean(result.text), clean_tree(result.data), ""
        except ToolError as problem:
            full, data, error = "", {}, clean(str(problem))
            malformed = isinstance(problem, MalformedCall)
        observation = Observation(
            request=request,
            text=excerpt(full, self.brief.case.words) if not error else f"error: {error}",
            full=full,
            data=data,
            error=error,
            seconds=time.monotonic() - started,
            turn=turn,
            malformed=malformed,
        )
        self.record(observation)
        self.found.append(observation)
        return observation

    def _run(self, request: Request) -> Result:
        tool = next((each for each in self.brief.tools if each.name == request.tool), None)
        if tool is None:
            offered = ", ".join(each.name for each in self.brief.tools) or "none"
            raise MalformedCall(f"there is no tool {request.tool!r} here; offered: {offered}")
        if request.arguments is None:
            raise MalformedCall(f"the arguments are {NO_OBJECT}")
        key = f"{request.tool} {json.dumps(request.arguments, sort_keys=True, default=str)}"
        self.seen[key] += 1
        if self.seen[key] > IDENTICAL_READS:
            raise ToolError("this was asked twice with the same arguments; use what it said")
        return self._read(tool, request.arguments)

    def _read(self, tool: Tool, arguments: Mapping[str, Any]) -> Result:
        return tool.call(self.brief.case, arguments)


class Meter:
    """What a conversation has taken of its limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.last_turn_at = time.monotonic() + limits.seconds * (1 - LAST_TURN_SHARE)
        self.turns: list[Turn] = []

    def count(self, turn: Turn) -> None:
        self.turns.append(turn)

    def nearly_over(self) -> bool:
        """Whether the next turn must be the last: another one like that before would leave it nothing."""
        return (
            time.monotonic() > self.last_turn_at
            or _short([turn.tokens or 0 for turn in self.turns], self.limits.tokens)
            or _short([turn.usd or 0.0 for turn in self.turns], self.limits.usd)
        )


def _short(taken: Sequence[float], limit: float | None) -> bool:
    return limit is not None and bool(taken) and sum(taken) + 2 * taken[-1] > limit


def run_agent(brief: Brief[A], reasoner: Reasoner, toolbox: Toolbox, limits: Limits) -> A:
    """An agent's answer, or AgentFailed. The last turn is asked without tools, so that it answers.

    It begins with what the toolbox has found already.
    """
    transcript: list[Entry] = [*toolbox.found]
    earlier = max((observation.turn for observation in toolbox.found), default=0)
    malformed = 0
    meter = Meter(limits)
    for number in range(1, limits.steps + 1):
        final = number == limits.steps or meter.nearly_over()
        turn = reasoner.next_turn(brief, transcript, final=final)
        meter.count(turn)
        if turn.requests and not final:
            seen = [toolbox.call(request, turn=earlier + number) for request in turn.requests]
            transcript.extend(seen)
            malformed += all(each.malformed for each in seen)
            if malformed > MAX_MALFORMED:
                raise AgentFailed(f"{brief.agent}: malformed calls: {seen[-1].error}")
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
        return None, turn.problem or "answer by calling the submit tool, or call one of the tools offered"
    try:
        return brief.answer.model_validate(clean_tree(turn.answer)), ""
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return None, "the answer does not fit its form: " + "; ".join(problems)
