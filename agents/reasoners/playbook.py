"""Rules over the same tools: what the crew does without a model. Playbooks are YAML, one file each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents import outcomes, playbooks
from agents.answers import Diagnosis, PostmortemSummary, Remediation, Triage
from agents.loop import Brief, Entry, Observation, Request, Turn
from agents.playbooks import Found, Playbook, Read

MAX_DROPPED = 8
MAX_CLAIMS = 8
RUNBOOKS = Read("runbooks", "search_runbooks", {})  # read with every playbook
# A runbook that nobody named for the alert is cited from this score on. Of 99 alerts more than half get
# theirs, among 108, by its text alone then; with theirs taken out, one in five gets another that is close.
CITED_FROM = 0.71


class PlaybookReasoner:
    """Goes through the fitting playbooks: reads what one wants, and answers when one of its causes holds."""

    rung = "playbooks"

    def next_turn(self, brief: Brief[Any], transcript: Sequence[Entry], *, final: bool) -> Turn:
        if brief.answer is Triage:
            return Turn(answer=triage(brief))
        if issubclass(brief.answer, Remediation):
            return Turn(answer=remediation(brief))
        if brief.answer is PostmortemSummary:
            return Turn(answer=brief.context["plain"])
        if brief.answer is not Diagnosis:
            raise TypeError(f"no playbook answers with {brief.answer.__name__}")
        seen = [entry for entry in transcript if isinstance(entry, Observation)]
        return diagnose(brief, seen, final=final)


def diagnose(brief: Brief[Any], seen: Sequence[Observation], *, final: bool) -> Turn:
    """What the next playbook still has to read, or the first cause whose conditions are met."""
    found = Found(brief.case, [each for each in seen if not each.error])
    dropped: list[str] = []
    for book in playbooks.fitting(brief.case):
        missing = _missing(brief, book, seen)
        if missing and not final:
            return Turn(requests=missing)
        diagnosed = book.diagnose(found)
        if diagnosed is not None:
            claims = [*diagnosed["claims"][: MAX_CLAIMS - 1], *_runbook(seen)]
            return Turn(answer={**diagnosed, "claims": claims, "dropped": dropped[:MAX_DROPPED]})
        dropped.append(f"{book.title}: its conditions are not met")
    cause = "not found: no reading said anything about this alert"
    answer = {"cause": cause, "certainty": "INCONCLUSIVE", "claims": _runbook(seen)}
    return Turn(answer={**answer, "dropped": dropped[:MAX_DROPPED]})


def _runbook(seen: Sequence[Observation]) -> list[dict[str, str]]:
    """The claim that names the runbook which fits best; none when none does."""
    for each in seen:
        found = each.data.get("runbooks") if each.request.tool == RUNBOOKS.tool else None
        if found and found[0]["score"] >= CITED_FROM:
            return [{"text": "The runbook for it", "call_id": each.request.id, "quote": found[0]["cite"]}]
    return []


def _missing(brief: Brief[Any], book: Playbook, seen: Sequence[Observation]) -> tuple[Request, ...]:
    """The reads of a playbook that nobody made yet, of tools that are there."""
    asked = [(each.request.tool, each.request.arguments) for each in seen]
    offered = {tool.name for tool in brief.tools}
    reads = [
        read
        for read in (*book.reads(brief.case), RUNBOOKS)
        if read.tool in offered and (read.tool, read.arguments) not in asked
    ]
    return tuple(
        Request(brief.call_id(len(seen) + place), read.tool, read.arguments)
        for place, read in enumerate(reads, start=1)
    )


def triage(brief: Brief[Any]) -> dict[str, Any]:
    """From the reading of the alert's own expression."""
    case = brief.case
    reading = brief.context.get("reading") or {}
    state = reading.get("state", "unknown")
    affected = (
        [case.target] if case.target else [case.labels["instance"]] if "instance" in case.labels else []
    )
    words = {
        "firing": "the alert is true",
        "cleared": "the alert is not true any more",
        "unknown": "whether the alert is true could not be read",
    }[state]
    reason = reading.get("reason")
    return {"state": state, "affected": affected, "summary": f"{words}: {reason}" if reason else words}


def remediation(brief: Brief[Any]) -> dict[str, Any]:
    """The action that the diagnosed cause names, for the target that the incident is bound to."""
    diagnosed = brief.context.get("diagnosis") or {}
    cause = playbooks.cause_by_code(diagnosed.get("code", ""))
    if cause is None or cause.action is None:
        why = cause.advice if cause and cause.advice else "no playbook has a safe action for this"
        return {"action": "none", "target": None, "reason": why}
    if brief.case.target is None:
        candidates = ", ".join(brief.case.candidates)
        why = (
            f"the labels fit more than one target: {candidates}"
            if candidates
            else "the labels name no target"
        )
        return {"action": "none", "target": None, "reason": f"would {cause.action}, but {why}"}
    vain = outcomes.given_up(brief.context.get("track_record") or (), cause.action)
    if vain and not brief.context.get("asked_by_a_person"):
        reason = "; ".join(filter(None, (f"{vain}, so it needs a person", cause.advice)))
        return {"action": "none", "target": None, "reason": reason}
    return {"action": cause.action, "target": brief.case.target, "reason": cause.why or diagnosed["cause"]}
