"""The Communicator: a template over what the others found. Nobody waits for a model to be told."""

from __future__ import annotations

from typing import Any

from django.utils.text import Truncator

from agents import ledger, links, patience, runbooks, transcript, worse
from agents.models import Action, CrewRun, Step
from incidents import notifications, problems, rawsql
from incidents.models import Event, Incident, Notification, Target, Verdict
from incidents.wording import headline, incident_link, people_time

Kind = Notification.Kind
QUOTED = 300  # characters of what a person wrote
INTERRUPTING_ENDS = {Verdict.NOT_FIXED, Verdict.RELAPSED, Verdict.UNKNOWN}
OF_RUN = "step_id IN (SELECT id FROM agents_step WHERE run_id = {})"
ENDINGS = {
    Verdict.VERIFIED: "fixed and verified",
    Verdict.CLEARED_BEFORE_ACTION: "cleared by itself",
    Verdict.RESOLVED_BY_HUMAN: "resolved by a person",
    Verdict.NOT_FIXED: "NOT fixed",
    Verdict.RELAPSED: "relapsed",
    Verdict.UNKNOWN: "ended without proof",
    Verdict.FALSE_ALARM: "false alarm",
}


def tell(incident: Incident, run: CrewRun, about: Target | None = None) -> bool:
    """Queue the message that the incident's state calls for; False when nobody needs one.

    `about`: whose action it is about, while the incident is open; else about the latest one.
    """
    if incident.adopted:
        return False  # one summary tells of all that fired before we looked
    if incident.verdict is not None:
        return _tell_end(incident, run, Verdict(incident.verdict))
    which, keys = (" AND target_id = {}", [about.pk]) if about else ("", [])
    actions = rawsql.fetch(Action, OF_RUN + which, run.pk, *keys)
    action = actions[-1] if actions else None
    if action is not None and action.status == Action.Status.AWAITING_APPROVAL:
        return _tell_decision(incident, run, action)
    step = patience.who_waits(run, about) if action is None else None
    if step is not None:
        return _tell_wait(incident, run, step)
    return _tell_analysis(incident, run, action)


def _tell_decision(incident: Incident, run: CrewRun, action: Action) -> bool:
    assert action.expires_at is not None
    verb = action.get_kind_display().split(" ", 1)[0]
    until = people_time(action.expires_at)
    body = [
        *_findings(run, action.target),
        f"Proposed: {action}. It {action.touches}.",
        f"Asks because {why_asked(action)}.",
    ]

    def words(channel: str) -> str:
        answer = f"Approve or reject until {until}: {links.url(action, channel) or incident_link(incident)}"
        return "\n".join([*body, answer])

    notifications.supersede_opened(incident)
    title = headline(incident, f"{verb}? until {until}", target=action.target)
    notifications.tell(incident, Kind.DECISION, title=title, body=words, transition=f"decision:{action.pk}")
    return True


def _tell_analysis(incident: Incident, run: CrewRun, action: Action | None) -> bool:
    """What was found and what is done about it, once for each state of affairs.

    It takes the place of an opening that is still unsent; after that a critical interrupts only when the
    news is that nothing is done.
    """
    rest, lines = _what_happens(run, action)
    urgent = incident.severity_class == "critical" and not _under_way(action)
    kind = Kind.DECISION if urgent else Kind.UPDATE
    if notifications.supersede_opened(incident):
        kind = Kind.OPENED
    state = f"{action.pk}:{action.status}" if action else "none"
    target = action.target if action else None
    body = [*_findings(run, target), *lines, incident_link(incident)]
    _send(incident, kind, headline(incident, rest, target=target), body, f"analysed:{run.number}:{state}")
    return True


def _tell_wait(incident: Incident, run: CrewRun, step: Step) -> bool:
    """Nothing is done yet, and why; it may be over before anybody need do anything."""
    kind = Kind.OPENED if notifications.supersede_opened(incident) else Kind.UPDATE
    body = [*_findings(run, step.focus), (step.output or {})["reason"], incident_link(incident)]
    rest = f"waits until {people_time(step.due_at)}"
    _send(incident, kind, headline(incident, rest, target=step.focus), body, f"waits:{step.pk}")
    return True


def _under_way(action: Action | None) -> bool:
    return action is not None and action.status in (
        Action.Status.APPROVED,
        Action.Status.EXECUTING,
        Action.Status.DONE,
    )


def _what_happens(run: CrewRun, action: Action | None) -> tuple[str, list[str]]:
    if action is None or action.status in (Action.Status.REJECTED, Action.Status.EXPIRED):
        return "needs a person", [f"No action: {_healer_reason(run)}"]
    if action.status in (Action.Status.REFUSED, Action.Status.WITHDRAWN):
        return "not acted on", [f"Not done: {action}. {action.result or _refusals(action)}"]
    if action.status in (Action.Status.FAILED, Action.Status.UNKNOWN):
        status = action.get_status_display()
        return f"{action.get_kind_display()}: {status}", [f"{action}: {status}. {action.result}"]
    return f"{action.get_kind_display()} under way", [f"Doing: {action}."]


def _tell_end(incident: Incident, run: CrewRun, verdict: Verdict) -> bool:
    ending = worse.WORDS if worse.was_said(incident) else ENDINGS[verdict]
    done = incident.remediation_taken or "nothing"
    body = [
        *_findings(run),
        *_said(incident),
        f"Done: {done}.",
        f"Verdict: {verdict.value}: {incident.proof_note}",
        *_offers(incident, run),
        incident_link(incident),
    ]
    kind = Kind.ENDED if verdict in INTERRUPTING_ENDS else Kind.UPDATE
    notifications.supersede_opened(incident)
    _send(incident, kind, headline(incident, ending), body, f"ended:{incident.reopened}:{verdict.value}")
    return True


def _said(incident: Incident) -> list[str]:
    """What people say of the cause."""
    lines = []
    if incident.rating is not None:
        lines.append(f"{incident.rated_by} calls this cause {incident.get_rating_display()}.")
    if incident.human_cause:
        lines.append(f"{incident.annotated_by} says: {Truncator(incident.human_cause).chars(QUOTED)}")
    return lines


def _offers(incident: Incident, run: CrewRun) -> list[str]:
    """What this incident's end earned: not to be asked any more, if a person wants that."""
    made = incident.events.filter(kind=Event.Kind.AUTONOMY, at__gte=run.started_at)
    pairs = made.values_list("data__pair", flat=True)
    return [f"{pair}: {ledger.offer_of(pair)}" for pair in ledger.offered() if pair.pk in set(pairs)]


def _send(incident: Incident, kind: Notification.Kind, title: str, body: list[str], transition: str) -> None:
    text = "\n".join(line for line in body if line)
    notifications.tell(incident, kind, title=title, body=text, transition=transition)


def _findings(run: CrewRun, target: Target | None = None) -> list[str]:
    """The cause with its certainty and first checked quote, the rung, and what happened last time."""
    analyst = Step.Agent.ANALYST
    step = (transcript.last(run, analyst, target) if target else None) or transcript.last(run, analyst)
    if step is None or step.output is None:
        return [run.incident.description, "Not analysed."]
    diagnosis = step.output
    lines = [f"Cause ({diagnosis['certainty']}): {diagnosis['cause']}"]
    cited = runbooks.cited(step)
    found = (claim for claim in diagnosis["claims"] if claim["found"])
    quote = next((claim["quote"] for claim in found if claim["call_id"] not in cited.calls), None)
    if quote:
        lines.append(f"Evidence: “{quote}”")
    lines += cited.lines
    why = f" ({step.rung_reason})" if step.rung_reason else ""
    lines.append(f"Worked by: {step.rung}{why}")
    return [*lines, *_last_time(run.incident)]


def _last_time(incident: Incident) -> list[str]:
    """A person's words of it are quoted; what the crew had thought is not."""
    last = incident.previous
    if last is None:
        return []
    ending = ENDINGS[Verdict(last.verdict)] if last.verdict else "still open"
    lines = [f"Last time (#{last.pk}): {last.remediation_taken or 'nothing was done'}, {ending}"]
    said = ". ".join(" ".join(words.split()) for words in (last.human_cause, last.human_note) if words)
    if said:
        lines.append(f"{last.annotated_by or 'A person'} says of it: {Truncator(said).chars(QUOTED)}")
    if (times := problems.times(incident)) >= problems.RECURS_AFTER:
        lines.append(f"It was there {problems.times_in_words(times)}.")
    return lines


def why_asked(action: Action) -> str:
    """Why a change is not made without a person's yes, for a sentence that ends with it."""
    return _texts(action, "ask") or "nothing is done without a yes"


def _refusals(action: Action) -> str:
    return _texts(action, "refuse")


def _texts(action: Action, effect: str) -> str:
    reasons: list[dict[str, Any]] = action.decision
    return "; ".join(reason["text"] for reason in reasons if reason["effect"] == effect)


def _healer_reason(run: CrewRun) -> str:
    step = transcript.last(run, Step.Agent.HEALER)
    return step.output["reason"] if step is not None and step.output else "the crew did not get that far"
