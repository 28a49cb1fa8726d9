"""The words that messages and pages share: a headline, a duration, a time of day, a link."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone

from incidents import signals
from incidents.models import Incident, Target, Verdict

FIRST_LINE = 90
LOGS_AROUND = timedelta(minutes=15)
NEEDS_YOU = "Needs you"
# What `resolution_status` reads as for people.
RESOLUTION = {
    "in_progress": "Worked on",
    "resolved": "Resolved",
    "attempted": "Tried, not proven",
    "escalated": NEEDS_YOU,
}
WAITS = {"approval": "Needs your yes", "proof": "Watching for proof", "model": "Waiting for the model"}
ENDED = {
    Verdict.VERIFIED: "Fixed, proven",
    Verdict.CLEARED_BEFORE_ACTION: "Over by itself",
    Verdict.RESOLVED_BY_HUMAN: "Resolved by a person",
    Verdict.NOT_FIXED: "Needs you: not fixed",
    Verdict.RELAPSED: "Needs you: came back",
    Verdict.FALSE_ALARM: "False alarm",
}
SHORT_SEVERITY = {"critical": "CRIT", "warning": "WARN", "info": "INFO", "other": "NOTE"}


def headline(
    incident: Incident, rest: str = "", *, target: Target | None = None, now: datetime | None = None
) -> str:
    """`CRIT jellyfin@docker2 JellyfinDown 4m · restart? until 03:27`, at most 90 characters.

    `target`: what the message is about, when that is another one than the incident's first. What is asked
    or how it ended is never cut; names are.
    """
    about = target or incident.target
    what = f"{about.name}@{about.host} " if about else ""
    age = duration((now or timezone.now()) - incident.started_at)
    end = f" {age} · {rest}" if rest else f" {age}"
    start = f"{SHORT_SEVERITY[incident.severity_class]} {what}{incident.alert_name}"
    room = FIRST_LINE - len(end)
    return (start if len(start) <= room else f"{start[: room - 1]}…") + end


def left_to_people(incidents: Iterable[Incident]) -> set[int]:
    """Keys of the open ones about which the crew has nothing left to do; one question for them all."""
    watched = [each.pk for each in incidents if each.waiting_for == "proof" and each.taken_over_at is None]
    if not watched:
        return set()
    told: list[tuple[Any, Any]] = signals.left_wanted.send(Incident, incident_ids=watched)
    return {pk for _receiver, left in told for pk in left}


def standing(incident: Incident, *, reader: str = "", left: Collection[int] | None = None) -> str:
    """How an incident stands, in the one phrase that people read everywhere. `reader`: who reads it.

    `left`: what `left_to_people` found, where several are shown; None: it is asked about this one.
    """
    if incident.verdict == Verdict.UNKNOWN:
        return "Tried, not proven" if incident.remediation_taken else "Ended, not proven"
    if incident.verdict is not None:
        return ENDED[Verdict(incident.verdict)]
    if incident.taken_over_at is not None:
        return "You have it" if incident.taken_over_by == reader else f"{incident.taken_over_by} has it"
    if incident.pk in (left_to_people([incident]) if left is None else left):
        return NEEDS_YOU
    if incident.waiting_for is not None:
        return WAITS[incident.waiting_for]
    return "Changing something" if incident.status == Incident.Status.ACTING else "Looking into it"


def duration(span: timedelta) -> str:
    """`45s`, `4m`, `3h`, `2d`."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def people_time(moment: datetime) -> str:
    """A time of day as people here read it (TZ)."""
    return moment.astimezone(ZoneInfo(settings.TIME_ZONE)).strftime("%H:%M")


def trace_link(incident: Incident) -> str | None:
    """Where an incident's trace is looked at; None when it has none, or TRACE_URL_TEMPLATE is not set."""
    template: str | None = settings.TRACE_URL_TEMPLATE
    if template is None or incident.trace_id is None:
        return None
    return template.replace("{trace_id}", incident.trace_id)


def log_link(incident: Incident) -> str | None:
    """Where an incident's log lines are read; None when LOG_URL_TEMPLATE is not set."""
    template: str | None = settings.LOG_URL_TEMPLATE
    if template is None:
        return None
    over = (incident.closed_at or timezone.now()) + LOGS_AROUND
    begin, end = (int(at.timestamp() * 1000) for at in (incident.started_at - LOGS_AROUND, over))
    filled = template.replace("{incident_id}", str(incident.pk))
    return filled.replace("{from}", str(begin)).replace("{to}", str(end))


def incident_link(incident: Incident) -> str:
    """The incident's page when PUBLIC_URL is known, else its number."""
    return (
        f"{settings.PUBLIC_URL}/incidents/{incident.pk}"
        if settings.PUBLIC_URL
        else f"incident #{incident.pk}"
    )
