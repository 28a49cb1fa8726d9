"""A postmortem from the rows. Nothing here asks the world or a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from agents import cases, costs, outcomes, runbooks, story, transcript
from agents.models import Action, Step, ToolCall
from agents.postmortem import follow_ups, summary
from agents.postmortem.parts import Cause, Change, Claim, Ending, Impact, Past, Postmortem, Span
from agents.postmortem.summary import local
from incidents.escalation import ANSWERS
from incidents.models import Episode, Event, Incident, Verdict
from incidents.redaction import clean
from incidents.wording import standing

FIRST_EVENTS, LAST_EVENTS = 200, 300
MOST_ALERTS = 500
MOST_MESSAGES = 200
LONGEST = 2000  # of a text; a sender or a command may have written a megabyte
WHY: dict[str | None, str] = {
    None: "It is not over yet.",
    Verdict.VERIFIED: "Our change was followed by proof: the alert's own signal cleared, and stayed so.",
    Verdict.CLEARED_BEFORE_ACTION: "It was proved to be over, without any change of ours.",
    Verdict.RESOLVED_BY_HUMAN: "A person said so.",
    Verdict.NOT_FIXED: "After the change its signal was still there.",
    Verdict.RELAPSED: "Its signal cleared after the change, and came back.",
    Verdict.UNKNOWN: "There is no proof either way.",
    Verdict.FALSE_ALARM: "There was nothing wrong.",
}


def of(incident: Incident, *, outputs: bool = True) -> Postmortem:
    """The postmortem of an incident as it stands, also while it is open.

    `outputs`: with what tools and commands gave out, literally: quotes and results, which are for operators.
    """
    now = timezone.now()
    alerts = cases.alerts_of(incident, MOST_ALERTS)
    actions = list(incident.actions.select_related("target").order_by("pk"))
    analysts = _analysts(incident)
    impact = _impact(incident, alerts, now)
    timeline, left_out = _timeline(incident)
    made = Postmortem(
        incident=incident.pk,
        title=_title(incident),
        is_over=incident.verdict is not None,
        summary=summary.NONE,
        impact=impact,
        spans=tuple(_spans(incident, impact, actions)),
        timeline=tuple(timeline),
        left_out=left_out,
        cause=_cause(incident, analysts, outputs=outputs),
        changes=tuple(_change(action, outputs=outputs) for action in actions),
        ending=_ending(incident),
        remembered=tuple(_remembered(incident)),
        runbooks=tuple(line for step in analysts for line in runbooks.cited(step).lines),
        cost=costs.of_incident(incident),
        follow_ups=(),
    )
    made = replace(made, follow_ups=tuple(follow_ups.of(incident, made, alerts)))
    return replace(made, summary=summary.of(incident, made))


def _title(incident: Incident) -> str:
    """`InstanceDown on web@docker2, 2026-11-23`."""
    about = incident.target
    where = f" on {about.name}@{about.host}" if about else ""
    return clean(f"{incident.alert_name}{where}, {local(incident.started_at):.10}")


def _impact(incident: Incident, alerts: Sequence[Episode], now: datetime) -> Impact:
    until, until_by = _until(incident, alerts)
    return Impact(
        alert_name=clean(incident.alert_name),
        severity=clean(incident.severity),
        description=_cut(clean(incident.description)),
        alerts=len(alerts) if len(alerts) < MOST_ALERTS else incident.episodes.count(),
        systems=_systems(incident, alerts),
        since=incident.started_at,
        until=until,
        until_by=until_by,
        seconds=max(0.0, ((until or now) - incident.started_at).total_seconds()),
        reopened=incident.reopened,
    )


def _systems(incident: Incident, alerts: Sequence[Episode]) -> tuple[str, ...]:
    """By their inventory's key, else by what their labels say."""
    bound = incident.episodes.filter(target__isnull=False).values_list("target__key", flat=True)
    keys = set(bound.order_by("target__key").distinct()[:MOST_ALERTS])
    named = {each.system for each in alerts if each.target_id is None}
    return tuple(sorted(clean(each) for each in {*keys, *named} if each))


def _until(incident: Incident, alerts: Sequence[Episode]) -> tuple[datetime | None, str | None]:
    """When it ended, by the best that is known; that a verdict was given does not end anything."""
    if incident.resolution_seconds is not None:
        return incident.started_at + timedelta(seconds=incident.resolution_seconds), "proof"
    if incident.verdict in (Verdict.RESOLVED_BY_HUMAN, Verdict.FALSE_ALARM):
        return incident.closed_at, "person"
    ends = [each.ends_at for each in alerts]
    if incident.verdict is not None and ends and None not in ends:
        return max(each for each in ends if each is not None), "sender"
    return None, None


def _spans(incident: Incident, impact: Impact, actions: Sequence[Action]) -> Iterable[Span]:
    """How long things took that anybody waits for, from the alert on; where it came back, from its return."""
    reopened = incident.events.filter(kind=Event.Kind.REOPENED).order_by("-pk").first()
    start, since = (reopened.at, "its return") if reopened else (impact.since, "the alert")
    told = incident.notifications.filter(sent_at__gte=start).order_by("sent_at").first()
    answered = (
        incident.events.filter(kind__in=(*ANSWERS, Event.Kind.ESCALATED), at__gte=start)
        .order_by("pk")
        .first()
    )
    causes = transcript.causes().filter(run__incident=incident, finished_at__gte=start)
    begun = [each.executing_at for each in actions if each.executing_at is not None]
    moments = (
        ("its opening", None if reopened else incident.opened_at),
        ("the first message", told.sent_at if told else None),
        ("a cause", causes.order_by("finished_at").values_list("finished_at", flat=True).first()),
        ("a person's answer", answered.at if answered else None),
        ("the first change", min((at for at in begun if at >= start), default=None)),
        ("the proof", impact.until if impact.until_by == "proof" else None),
    )
    for name, at in moments:
        if at is not None and at >= start:
            yield Span(f"from {since} to {name}", _seconds(start, at))


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())


def _timeline(incident: Incident) -> tuple[list[story.Chapter], int]:
    """Its chapters, and how many events in the middle are left out."""
    rows = incident.events.exclude(kind=Event.Kind.NOTIFIED)
    first = list(rows.order_by("pk")[:FIRST_EVENTS])
    last: list[Event] = []
    left_out = 0
    if len(first) == FIRST_EVENTS:
        later = rows.filter(pk__gt=first[-1].pk)
        last = list(later.order_by("-pk")[:LAST_EVENTS])[::-1]
        left_out = later.count() - len(last)
    messages = incident.notifications.order_by("pk")[:MOST_MESSAGES]
    moments = [*story.of_events([*first, *last]), *story.of_messages(messages)]
    return story.chapters([replace(each, text=_cut(each.text)) for each in moments]), left_out


def _analysts(incident: Incident) -> list[Step]:
    """The Analyst's answered steps of the last run that has some."""
    steps = Step.objects.filter(run__incident=incident, agent=Step.Agent.ANALYST, output__isnull=False)
    found = list(steps.order_by("-run__number", "number").select_related("run").defer("brief")[:20])
    return [step for step in found if step.run_id == found[0].run_id]


def _cause(incident: Incident, analysts: Sequence[Step], *, outputs: bool) -> Cause:
    crews, persons = incident.root_cause, incident.human_cause
    answers = [step.output for step in analysts if isinstance(step.output, dict)]
    named = [claim["call_id"] for answer in answers for claim in answer.get("claims", ())]
    calls = ToolCall.objects.filter(step__run__in={step.run_id for step in analysts}, call_id__in=named)
    tools = dict(calls.values_list("call_id", "tool"))
    claims = [
        Claim(
            text=_cut(claim["text"]),
            tool=tools.get(claim["call_id"]),
            call_id=claim["call_id"],
            quote=claim["quote"] if outputs else None,
            found=claim["found"],
        )
        for answer in answers
        for claim in answer.get("claims", ())
    ]
    return Cause(
        text=_cut(cause) if (cause := persons or crews) else None,
        by=incident.annotated_by if persons else incident.rung if crews else "",
        certainty="" if persons else incident.certainty,
        crews=_cut(crews) if crews and persons and crews != persons else None,
        rating=incident.rating,
        rated_by=incident.rated_by,
        note=_cut(incident.human_note),
        claims=tuple(claims),
        dropped=tuple(_cut(each) for answer in answers for each in answer.get("dropped", ())),
    )


def _change(action: Action, *, outputs: bool) -> Change:
    reasons: list[dict[str, Any]] = action.decision
    return Change(
        id=action.pk,
        what=str(action),
        status=action.get_status_display().lower(),
        reason=_cut(action.reason),
        proposed_at=action.proposed_at,
        decided_by=action.decided_by,
        by_person=action.by_person,
        decided_at=action.decided_at,
        decision="; ".join(f"{each['effect']}: {each['text']}" for each in reasons),
        began_at=action.executing_at,
        ended_at=action.finished_at,
        helped=action.helped,
        result=_cut(action.result) or None if outputs else None,
    )


def _ending(incident: Incident) -> Ending:
    seen = transcript.last_look(incident)
    closing = incident.events.filter(kind=Event.Kind.STATUS).order_by("-pk")
    ended = incident.verdict is not None
    return Ending(
        verdict=incident.verdict,
        standing=standing(incident),
        by=closing.values_list("actor", flat=True).first() if ended else None,
        why=WHY[incident.verdict],
        note=_cut(incident.proof_note) if ended else "",
        seen=_cut(str(seen.get("last") or "")),
        looks=int(seen.get("looks") or 0),
    )


def _remembered(incident: Incident) -> Iterable[Past]:
    for past in outcomes.last_recalled(incident):
        yield Past(
            incident=past.get("incident"),
            alert_name=str(past.get("alert_name") or ""),
            cause=_cut(past["root_cause"]) if past.get("root_cause") else None,
            by_person=past.get("cause_by") == "person",
            note=_cut(past["note"]) if past.get("note") else None,
            verdict=past.get("verdict"),
            why=tuple(map(str, past.get("why") or ())),
        )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
