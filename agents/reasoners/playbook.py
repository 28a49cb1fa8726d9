"""Rules over the same tools: what the crew does without a model. Playbooks are YAML, one file each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents import playbooks
from agents.answers import Diagnosis, Remediation, Triage
from agents.loop import Brief, Entry, Observation, Request, Turn
from agents.playbooks import Found, Playbook

MAX_DROPPED = 8


class PlaybookReasoner:
    """Goes through the fitting playbooks: reads what one wants, and answers when one of its causes holds."""

    rung = "playbooks"

    def next_turn(self, brief: Brief[Any], transcript: Sequence[Entry], *, final: bool) -> Turn:
        if brief.answer is Triage:
            return Turn(answer=triage(brief))
        if issubclass(brief.answer, Remediation):
            return Turn(answer=remediation(brief))
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
            return Turn(answer={**diagnosed, "dropped": dropped[:MAX_DROPPED]})
        dropped.append(f"{book.title}: its conditions are not met")
    cause = "not found: no reading said anything about this alert"
    return Turn(answer={"cause": cause, "certainty": "INCONCLUSIVE", "dropped": dropped[:MAX_DROPPED]})


def _missing(brief: Brief[Any], book: Playbook, seen: Sequence[Observation]) -> tuple[Request, ...]:
    """The reads of a playbook that nobody made yet, of tools that are there."""
    asked = [(each.request.tool, each.request.arguments) for each in seen]
    offered = {tool.name for tool in brief.tools}
    reads = [
        read
        for read in book.reads(brief.case)
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
    return {"action": cause.action, "target": brief.case.target, "reason": cause.why or diagnosed["cause"]}
