"""A recorded investigation again, on its recorded tool results, with another reasoner. Nothing is done by it.

The Monitor, each Analyst and each Healer of an incident's last investigation get what they were given then;
what they find now goes on to their colleagues. Only what a model was asked is kept, beside the record, for it
costs money.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings

from agents import cassette, evidence, transcript
from agents.answers import Diagnosis
from agents.loop import AgentFailed, Limits, Observation, Reasoner, run_agent
from agents.models import CrewRun, ModelCall, Step
from agents.reasoners import THINKERS, openai, prompts
from agents.reasoners.calls import Call, Done, book
from agents.reasoners.playbook import PlaybookReasoner
from agents.reasoners.rungs import Rung
from incidents.models import Incident

PLAYBOOKS = "playbooks"
RECORD = "as recorded"


class NotRecorded(Exception):
    """An incident has no investigation that can be run again; the message says why."""


@dataclass(frozen=True)
class Contender:
    """Who reasons: a model with its prompts, or without a server the playbooks."""

    server: Rung | None = None
    words: prompts.Prompts = field(default_factory=prompts.load)
    folder: Path | None = None  # of the prompts, when they are not our own

    @property
    def name(self) -> str:
        if self.server is None:
            return PLAYBOOKS
        return f"{self.server.model} ({self.folder.name})" if self.folder else self.server.model


@dataclass
class Spent:
    """What a replay took. `usd` is None when a price is not known, `tokens` when a server tells none."""

    tokens: int | None = 0
    usd: Decimal | None = Decimal(0)
    calls: int = 0

    def add(self, call: Call) -> None:
        self.calls += 1
        if call.response is not None:  # else refused or cut off, and nobody says what that took
            self.count(call.usage.input, call.usage.output, call.cost_usd)

    def count(self, read: int | None, written: int | None, usd: Decimal | None) -> None:
        known = self.tokens is not None and read is not None and written is not None
        self.tokens = (self.tokens or 0) + (read or 0) + (written or 0) if known else None
        self.usd = None if usd is None or self.usd is None else self.usd + usd


@dataclass
class Replayed:
    """What a contender made of an incident: a step's recorded answer beside the one it has now."""

    incident: Incident
    contender: str
    answers: list[tuple[Step, dict[str, Any]]] = field(default_factory=list)
    asked: int = 0  # tool calls
    lacking: list[str] = field(default_factory=list)
    failed: str = ""
    spent: Spent = field(default_factory=Spent)
    seconds: float = 0.0

    def of(self, agent: Step.Agent) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Recorded and new answers of an agent."""
        return [(step.output or {}, answer) for step, answer in self.answers if step.agent == agent]


def replay(incident: Incident, contender: Contender) -> Replayed:
    """Run an incident's last recorded investigation again; NotRecorded when there is none."""
    steps = _recorded_steps(incident)
    replayed = Replayed(incident, contender.name)
    began = time.monotonic()
    try:
        for step in steps:
            replayed.answers.append((step, _again(step, contender, replayed)))
    except (AgentFailed, openai.ModelError) as error:
        replayed.failed = str(error)
    replayed.seconds = time.monotonic() - began
    return replayed


def recorded(incident: Incident) -> Replayed:
    """The record itself, to compare with: every answer as it was, and what it took then."""
    steps = _recorded_steps(incident)
    calls = ModelCall.objects.filter(step__in=steps, response__isnull=False)
    spent = Spent(calls=len(calls))
    for call in calls:
        spent.count(call.input_tokens, call.output_tokens, call.cost_usd)
    took = sum(
        (step.finished_at - step.started_at).total_seconds()
        for step in steps
        if step.finished_at and step.started_at
    )
    return Replayed(
        incident, RECORD, [(step, step.output or {}) for step in steps], spent=spent, seconds=took
    )


def _recorded_steps(incident: Incident) -> list[Step]:
    run = CrewRun.objects.filter(incident=incident, steps__brief__isnull=False).order_by("-number").first()
    if run is None:
        raise NotRecorded(f"incident {incident.pk} has no recorded investigation")
    done = run.steps.filter(agent__in=THINKERS, state="done", brief__isnull=False, output__isnull=False)
    steps = list(done.select_related("run").order_by("id"))
    if not steps:
        raise NotRecorded(f"the investigation of incident {incident.pk} has no finished step")
    return steps


def _again(step: Step, contender: Contender, replayed: Replayed) -> dict[str, Any]:
    brief = cassette.restore(step, _found_so_far(step, replayed.answers))
    seen: list[Observation] = []
    calls = cassette.calls_for(step)
    toolbox = cassette.Playback(brief, seen.append, calls=calls, lacking=replayed.lacking)
    try:
        answer = run_agent(brief, _reasoner(step, contender, replayed.spent), toolbox, _limits())
    finally:
        replayed.asked += len(seen)
    return _checked(answer, step, seen).as_json() if isinstance(answer, Diagnosis) else answer.model_dump()


def _checked(answer: Diagnosis, step: Step, seen: Iterable[Observation]) -> evidence.CheckedDiagnosis:
    """By what this agent read now, and what its colleagues read then: a call's id is unique only in a run."""
    read = {each.request.id: each.full for each in seen}
    recalled = {each.request.id for each in seen if each.request.tool in transcript.HEARSAY}
    outputs, hearsay = transcript.outputs(step.run, but=step)
    return evidence.check(answer, {**outputs, **read}, hearsay | recalled)


def _found_so_far(step: Step, answers: Iterable[tuple[Step, dict[str, Any]]]) -> Mapping[str, Any]:
    """What colleagues found in this replay, under the names that a brief has for it."""
    found: dict[str, Any] = {}
    for earlier, answer in answers:
        if earlier.agent == Step.Agent.MONITOR and step.agent != Step.Agent.MONITOR:
            found["triage"] = answer
        same = earlier.focus_id == step.focus_id
        if earlier.agent == Step.Agent.ANALYST and step.agent == Step.Agent.HEALER and same:
            found["diagnosis"] = answer
    return found


def _reasoner(step: Step, contender: Contender, spent: Spent) -> Reasoner:
    if contender.server is None:
        return PlaybookReasoner()
    keep = book(contender.words, replay_of=step)

    def begin(server: Rung, request: dict[str, Any]) -> Done:
        done = keep(server, request)

        def counted(call: Call) -> None:
            done(call)
            spent.add(call)

        return counted

    return openai.OpenAIReasoner(
        server=contender.server,
        begin=begin,
        words=contender.words,
        deadline=time.monotonic() + settings.AGENT_SECONDS,
    )


def _limits() -> Limits:
    """Of an agent, as in the real investigation."""
    return Limits(
        steps=settings.AGENT_STEPS,
        seconds=settings.AGENT_SECONDS,
        tokens=settings.AGENT_TOKENS,
        usd=settings.AGENT_USD,
    )
