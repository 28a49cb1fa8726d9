"""Rules over the same tools: what the crew does without a model. Playbooks are YAML, one file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents import playbooks
from agents.answers import Diagnosis, Remediation, Triage
from agents.loop import Brief, Entry, Observation, Request, Turn
from agents.playbooks import Found


class PlaybookReasoner:
    """First asks for everything its playbooks read, then answers from what came back."""

    rung = "playbooks"

    def next_turn(self, brief: Brief[Any], transcript: Sequence[Entry], *, final: bool) -> Turn:
        seen = [entry for entry in transcript if isinstance(entry, Observation)]
        asked = {(each.request.tool, str(each.request.arguments)) for each in seen}
        missing = [read for read in self._reads(brief, seen) if (read.tool, str(read.arguments)) not in asked]
        if missing and not final:
            return Turn(
                requests=tuple(
                    Request(f"{brief.agent}-{len(seen) + place}", read.tool, read.arguments)
                    for place, read in enumerate(missing, start=1)
                )
            )
        return Turn(answer=self._answer(brief, seen))

    def _reads(self, brief: Brief[Any], seen: Sequence[Observation]) -> list[playbooks.Read]:
        if brief.answer is not Diagnosis:
            return []
        offered = {tool.name for tool in brief.tools}
        wanted = [read for book in playbooks.fitting(brief.case) for read in book.reads(brief.case)]
        unique = {(read.tool, str(read.arguments)): read for read in wanted if read.tool in offered}
        return list(unique.values())

    def _answer(self, brief: Brief[Any], seen: Sequence[Observation]) -> Mapping[str, Any]:
        if brief.answer is Triage:
            return triage(brief)
        if brief.answer is Diagnosis:
            return diagnosis(brief, seen)
        if brief.answer is Remediation:
            return remediation(brief)
        raise TypeError(f"no playbook answers with {brief.answer.__name__}")


def triage(brief: Brief[Any]) -> dict[str, Any]:
    """From the reading of the alert's own expression."""
    case = brief.case
    reading = brief.context.get("reading") or {}
    state = reading.get("state", "unknown")
    affected = (
        [case.target] if case.target else [case.labels["instance"]] if "instance" in case.labels else []
    )
    words = {
        "firing": "the alert's own expression is true",
        "cleared": "the alert's own expression is not true any more",
        "unknown": "whether the alert is true could not be read",
    }[state]
    reason = reading.get("reason")
    return {"state": state, "affected": affected, "summary": f"{words}: {reason}" if reason else words}


def diagnosis(brief: Brief[Any], seen: Sequence[Observation]) -> dict[str, Any]:
    """The first cause, in the order of the playbooks, whose conditions the observations meet."""
    found = Found(brief.case, [each for each in seen if not each.error])
    dropped: list[str] = []
    for book in playbooks.fitting(brief.case):
        diagnosed = book.diagnose(found)
        if diagnosed is not None:
            return {**diagnosed, "dropped": dropped[:8]}
        dropped.append(f"{book.title}: its conditions are not met")
    return {
        "cause": "not found: no reading said anything about this alert",
        "certainty": "INCONCLUSIVE",
        "dropped": dropped[:8],
    }


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
