"""The loop: tools are run and recorded, malformed turns corrected twice, the last turn always answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from agents.answers import Triage
from agents.loop import (
    AgentFailed,
    Brief,
    Correction,
    Entry,
    Limits,
    Observation,
    Request,
    Toolbox,
    Turn,
    run_agent,
)
from agents.tools.base import Case, Health, Integration, Result, Tool, ToolError, _arguments_model

CASE = Case(1, "Down", "critical", {}, {}, datetime(2026, 1, 1, tzinfo=UTC))
ANSWER = {"state": "firing", "summary": "it is down"}


def look(case: Case, lines: int = 10) -> Result:
    """Look."""
    if lines == 13:
        raise ToolError("no thirteenth line, password=hunter2")
    return Result(f"{lines} lines, token=abc123", {"lines": lines, "secret": "api_key=zzz"})


def shout(case: Case) -> Result:
    """Shout."""
    return Result("a" * 5000 + "b" * 5000)


LOOK = Tool(
    "look",
    "Look.",
    Integration("test", lambda: True, lambda: Health(True, "")),
    _arguments_model(look),
    look,
)
SHOUT = replace(LOOK, name="shout", arguments=_arguments_model(shout), function=shout)
BRIEF = Brief("monitor", CASE, Triage, (LOOK,))


class Scripted:
    """Says its turns one after the other, and remembers what it was told."""

    rung = "scripted"

    def __init__(self, *turns: Turn) -> None:
        self.turns = list(turns)
        self.told: list[tuple[list[Entry], bool]] = []

    def next_turn(self, brief: Brief[Any], transcript: Sequence[Entry], *, final: bool) -> Turn:
        self.told.append((list(transcript), final))
        return self.turns.pop(0)


def call(**arguments: Any) -> Turn:
    return Turn((Request("c1", "look", arguments),))


def run(reasoner: Scripted, limits: Limits = Limits()) -> tuple[Triage, list[Observation]]:  # noqa: B008
    seen: list[Observation] = []
    return run_agent(BRIEF, reasoner, Toolbox(BRIEF, seen.append), limits), seen


def test_tools_are_run_recorded_and_redacted() -> None:
    answer, seen = run(Scripted(call(lines=3), Turn(answer=ANSWER)))
    assert answer.state == "firing"
    assert seen[0].full == "3 lines, token=[redacted]"
    assert seen[0].data == {"lines": 3, "secret": "[redacted]"}


def test_a_tools_error_is_an_observation() -> None:
    reasoner = Scripted(call(lines=13), Turn(answer=ANSWER))
    _, seen = run(reasoner)
    assert seen[0].error == "no thirteenth line, password=[redacted]"
    assert reasoner.told[1][0][0].text.startswith("error: ")


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request("c", "rm", {}), "there is no tool 'rm'"),
        (Request("c", "look", None), "no JSON object"),
        (Request("c", "look", {"lines": "many"}), "lines"),
        (Request("c", "look", {"colour": 1}), "colour"),
    ],
)
def test_wrong_calls_are_answered_with_what_is_wrong(request_: Request, says: str) -> None:
    _, seen = run(Scripted(Turn((request_,)), Turn(answer=ANSWER)))
    assert says in seen[0].error


def test_an_identical_read_is_done_at_most_twice() -> None:
    _, seen = run(Scripted(call(), call(), call(), call(lines=11), Turn(answer=ANSWER)))
    assert [bool(each.error) for each in seen] == [False, False, True, False]


def test_a_malformed_answer_is_corrected_twice_and_then_the_agent_has_failed() -> None:
    reasoner = Scripted(Turn(said="It is fine!"), Turn(answer={"state": "maybe"}), Turn(answer=ANSWER))
    answer, _ = run(reasoner)
    assert answer.summary == "it is down"
    assert all(isinstance(entry, Correction) for entry in reasoner.told[2][0])
    with pytest.raises(AgentFailed, match="state"):
        run(Scripted(*[Turn(answer={"state": "maybe"})] * 3))


def test_the_last_turn_is_final_and_its_tool_calls_are_not_run() -> None:
    reasoner = Scripted(call(lines=1), call(lines=2), Turn(answer=ANSWER))
    _, seen = run(reasoner, Limits(steps=3))
    assert [final for _, final in reasoner.told] == [False, False, True]
    with pytest.raises(AgentFailed):
        run(Scripted(call(lines=1), call(lines=2)), Limits(steps=2))
    assert len(seen) == 2


def test_time_over_makes_the_next_turn_final() -> None:
    reasoner = Scripted(Turn(answer=ANSWER))
    run(reasoner, Limits(seconds=-1))
    assert reasoner.told[0][1] is True


def test_long_output_is_capped_with_a_hint_and_kept_whole() -> None:
    reasoner = Scripted(Turn((Request("c1", "shout", {}),)), Turn(answer=ANSWER))
    brief = replace(BRIEF, tools=(SHOUT,))
    seen: list[Observation] = []
    run_agent(brief, reasoner, Toolbox(brief, seen.append), Limits())
    assert len(seen[0].full) == 10_000
    assert len(seen[0].text) < 4200
    assert "characters left out: narrow the query" in seen[0].text


def used(tokens: int | None = None, usd: float | None = None, lines: int = 1) -> Turn:
    return replace(call(lines=lines), tokens=tokens, usd=usd)


@pytest.mark.parametrize(
    ("limits", "turn"),
    [(Limits(tokens=4000), used(tokens=1000)), (Limits(usd=0.4), used(usd=0.1))],
    ids=["tokens", "dollars"],
)
def test_the_last_turn_comes_while_there_is_room_for_it(limits: Limits, turn: Turn) -> None:
    turns = [replace(turn, requests=call(lines=lines).requests) for lines in (1, 2, 3)]
    reasoner = Scripted(*turns, Turn(answer=ANSWER))
    run(reasoner, limits)
    assert [final for _, final in reasoner.told] == [False, False, False, True]


def test_the_last_quarter_of_the_seconds_is_for_the_last_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("agents.loop.time.monotonic", lambda: now[0])

    class Slow(Scripted):
        def next_turn(self, *args: Any, **options: Any) -> Turn:
            now[0] += 38.0
            return super().next_turn(*args, **options)

    reasoner = Slow(call(lines=1), call(lines=2), Turn(answer=ANSWER))
    run(reasoner, Limits(seconds=100))
    assert [final for _, final in reasoner.told] == [False, False, True]


def test_a_turn_of_unknown_cost_is_bound_by_the_steps() -> None:
    reasoner = Scripted(used(lines=1), used(lines=2), Turn(answer=ANSWER))
    run(reasoner, Limits(tokens=1, usd=0.01))
    assert [final for _, final in reasoner.told] == [False, False, False]


def test_malformed_calls_are_borne_twice() -> None:
    with pytest.raises(AgentFailed, match="malformed calls: there is no tool 'rm'"):
        run(Scripted(*[Turn((Request("c", "rm", {}),))] * 3))


def test_the_next_reasoner_begins_with_what_the_last_one_found() -> None:
    toolbox = Toolbox(BRIEF, lambda observation: None)
    with pytest.raises(AgentFailed):
        run_agent(BRIEF, Scripted(call(lines=3), *[Turn(said="Hm.")] * 3), toolbox, Limits())
    second = Scripted(call(lines=4), Turn(answer=ANSWER))
    run_agent(BRIEF, second, toolbox, Limits())
    begun_with, _ = second.told[0]
    assert [(entry.text, entry.turn) for entry in begun_with] == [("3 lines, token=[redacted]", 1)]
    assert [entry.turn for entry in second.told[1][0]] == [1, 2]
