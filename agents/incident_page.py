"""What an incident's page shows, in a fixed number of queries; nothing here asks the world."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.utils import timezone

from agents import (
    chart,
    communicator,
    conclusions,
    costs,
    ledger,
    outcomes,
    pages,
    pauses,
    questions,
    story,
    transcript,
)
from agents.forms import AnnotationForm, EscalationForm, NoteForm, PauseHereForm, RejectionForm
from agents.models import Action, ToolCall
from incidents import problems, rawsql
from incidents.access import Caller
from incidents.models import Episode, Incident, Notification, Rating, Role, Verdict
from incidents.redaction import clean_tree
from incidents.wording import SHORT_SEVERITY, left_to_people, log_link, standing, trace_link

ACTIONS_SHOWN = 20
ALERTS_SHOWN = 50
EARLIER_SHOWN = 5
EVENTS_SHOWN = 300
RECORD_SHOWN = 2_000
MESSAGES_SHOWN = 100
READINGS_SHOWN = 10  # of what was kept before changes
LONGEST_KEPT = 20_000  # characters
EVIDENCE = "evidence"  # the tool's name under which the executor keeps what a change destroys
NEEDS_PERSON = (Verdict.NOT_FIXED, Verdict.RELAPSED, Verdict.UNKNOWN)
WAITS_FOR = {"approval": "your yes or no", "proof": "proof", "model": "the model"}
# What of an incident's page can change, as one small answer. A watch's looks are no change until they differ.
VERSION = """
SELECT incident.status, incident.verdict, incident.reopened,
 (SELECT COUNT(*) FROM incidents_event WHERE incident_id = incident.id),
 (SELECT COUNT(*) FROM incidents_episode WHERE incident_id = incident.id),
 (SELECT COUNT(sent_at) FROM incidents_notification WHERE incident_id = incident.id),
 (SELECT COUNT(*) FROM agents_toolcall call JOIN agents_step step ON step.id = call.step_id
  JOIN agents_crewrun run ON run.id = step.run_id WHERE run.incident_id = incident.id),
 (SELECT COUNT(call.seconds) FROM agents_modelcall call JOIN agents_step step ON step.id = call.step_id
  JOIN agents_crewrun run ON run.id = step.run_id WHERE run.incident_id = incident.id)
FROM incidents_incident incident WHERE incident.id = {}"""


@dataclass(frozen=True)
class Cause:
    """In one sentence why, how certain that is, and whose word."""

    text: str
    certainty: str
    by: str


def version(pk: str | int, caller: Caller) -> str | None:
    """The entity tag of an incident's page; None when there is no such incident."""
    row = rawsql.row(VERSION, int(pk))
    return None if row is None else pages.tag(caller, *row)


def context(incident: Incident, caller: Caller) -> dict[str, Any]:
    """Everything about one incident. Outputs of tools and models are for operators."""
    may_decide = caller.may(Role.OPERATOR)
    actions = list(incident.actions.select_related("target", "incident").order_by("-id")[:ACTIONS_SHOWN])
    last = actions[0] if actions else None
    asked = [(action, communicator.why_asked(action)) for action in actions if action.is_asked]
    similar = outcomes.last_recalled(incident)
    left = left_to_people([incident])
    needs_person = incident.verdict in NEEDS_PERSON or bool(left)
    return {
        "incident": incident,
        "name": name_of(incident),
        "standing": standing(incident, reader=caller.name, left=left),
        "waits": waits(incident, needs_person=needs_person),
        "tone": "urgent" if needs_person or asked else "good" if incident.verdict else "",
        "clock": _clock(incident),
        "needs_person": needs_person,
        "age": ((incident.closed_at or timezone.now()) - incident.started_at).total_seconds(),
        "cause": cause_of(incident),
        "trace_link": trace_link(incident),
        "log_link": log_link(incident),
        "may_decide": may_decide,
        "rejection": RejectionForm(auto_id=False),
        "forms": _forms(incident),
        "asked": asked,
        "askable": last.pk if last is not None and questions.may_ask_again(last) else None,
        "actions": actions,
        **_story(incident),
        "events_shown": EVENTS_SHOWN,
        "conclusions": conclusions.of_incident(incident, outputs=may_decide),
        "watch": transcript.last_look(incident),
        "kept": _kept(incident),
        "similar": similar,
        "likest": next((each for each in similar if _is_told_by_person(each)), next(iter(similar), None)),
        "earned": _earned(actions),
        "problems": problems.of_incident(incident),
        "times": problems.times(incident),
        "earlier": _earlier(incident),
        "alerts": _alerts(incident),
        "alerts_shown": ALERTS_SHOWN,
        "cost": costs.by_turn(incident),
        "plotted": settings.PROMETHEUS_URL is not None or chart.kept(incident) is not None,
        "not_plotted": chart.NO_PROMETHEUS,
        "ratings": Rating.choices,
    }


def name_of(incident: Incident) -> str:
    """`CRIT jellyfin@docker2 ServiceDown`, without its age: a title that changes is read aloud."""
    where = f"{incident.target.name}@{incident.target.host} " if incident.target else ""
    return f"{SHORT_SEVERITY[incident.severity_class]} {where}{incident.alert_name}"


def _clock(incident: Incident) -> str:
    """How its times are written, as Django's `date` reads it: with the day when it had more than one."""
    days = {timezone.localdate(at) for at in (incident.started_at, incident.closed_at or timezone.now())}
    return "H:i:s" if len(days) == 1 else "j M H:i:s"


def waits(incident: Incident, *, needs_person: bool) -> str:
    """What has to come next, always in words."""
    if needs_person:
        return "waits for a person's look"
    if incident.verdict is not None:
        return "it is over"
    if incident.taken_over_at is not None:
        return f"waits for {incident.taken_over_by}"
    if incident.waiting_for is not None:
        return f"waits for {WAITS_FOR[incident.waiting_for]}"
    return "the crew is at work"


def cause_of(incident: Incident) -> Cause | None:
    """A person's word counts before the crew's."""
    if incident.human_cause:
        return Cause(_first_line(incident.human_cause), "", incident.annotated_by)
    if not incident.root_cause:
        return None
    by = f"the crew ({incident.rung})" if incident.rung else "the crew"
    return Cause(_first_line(incident.root_cause), incident.certainty.lower(), by)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _forms(incident: Incident) -> dict[str, Any]:
    scopes = []
    if incident.target is not None:
        scopes = [incident.target.key, f"{pauses.HOST_PREFIX}{incident.target.host}"]
    known = {"cause": incident.human_cause, "note": incident.human_note}
    return {
        "annotation": AnnotationForm(initial=known, auto_id=False),
        "note": NoteForm(auto_id=False),
        "escalation": EscalationForm(auto_id=False),
        "pauses": [(scope, PauseHereForm(initial={"scope": scope}, auto_id=False)) for scope in scopes],
    }


def _story(incident: Incident) -> dict[str, Any]:
    """Its chapters, and whether there are more events than they tell."""
    latest = list(incident.events.order_by("-id")[: EVENTS_SHOWN + 1])
    events = latest[:EVENTS_SHOWN]
    messages = Notification.objects.filter(incident=incident, carrier=None).order_by("-id")
    shown = messages.defer("body")[:MESSAGES_SHOWN]
    found = story.chapters([*story.of_events(reversed(events)), *story.of_messages(shown)])
    return {"chapters": found, "begins_earlier": len(latest) > len(events)}


def _kept(incident: Incident) -> QuerySet[ToolCall]:
    """What the executor kept before it changed something: logs, inspection, events."""
    rows = ToolCall.objects.filter(step__run__incident=incident, tool=EVIDENCE).defer("output", "data")
    return rows.annotate(reading=Left("output", LONGEST_KEPT)).order_by("-id")[:READINGS_SHOWN]


def _earned(actions: Iterable[Action]) -> list[dict[str, Any]]:
    """The offers to ask no more that wait for a person, about an incident's changes."""
    mine = {ledger.key_of(action) for action in actions}
    pairs = [each for each in ledger.offered() if (each.kind, each.target_kind, each.alert_name) in mine]
    return [{"pair": pair, "offer": ledger.offer_of(pair)} for pair in pairs]


def _is_told_by_person(past: dict[str, Any]) -> bool:
    return bool(past.get("note")) or past.get("cause_by") == "person"


def _earlier(incident: Incident) -> QuerySet[Incident]:
    """The last incidents of the same alert that were over when it opened."""
    same = Incident.objects.closed().filter(alert_name=incident.alert_name, closed_at__lt=incident.opened_at)
    return same.exclude(pk=incident.pk).select_related("target").order_by("-closed_at")[:EARLIER_SHOWN]


def _alerts(incident: Incident) -> list[Episode]:
    """The alerts as they may be shown: labels and links are kept as their sender wrote them."""
    alerts = list(incident.episodes.select_related("target").order_by("-id")[:ALERTS_SHOWN])
    for alert in alerts:
        for name in ("alert_name", "labels", "annotations", "generator_url"):
            setattr(alert, name, clean_tree(getattr(alert, name)))
    return alerts


def record(incident: Incident, caller: Caller) -> dict[str, Any]:
    """The rows as they are, for who wants to know it all: events, turns, readings, requests to models."""
    steps = "steps__tool_calls", "steps__model_calls"
    return {
        "incident": incident,
        "name": name_of(incident),
        "may_decide": caller.may(Role.OPERATOR),
        "events": incident.events.order_by("-id")[:RECORD_SHOWN],
        "events_shown": RECORD_SHOWN,
        "runs": incident.runs.order_by("-number").prefetch_related(*steps),
    }
