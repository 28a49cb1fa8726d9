"""The postmortem's paragraph: a template over the records, or, where a person asked for it, a model's words.

A model is given what any reader of the postmortem sees, and its words are checked against that by code, each
time they are shown: every number and every quote must stand there, and what it says of the end must be so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from agents.models import Step
from agents.postmortem.check import untrue
from agents.postmortem.parts import Postmortem, Summary
from agents.reasoners.playbook import PlaybookReasoner
from incidents.models import Event, Incident
from incidents.wording import duration

OPEN = "open"  # what stands for no verdict in a model's answer
NONE = Summary("", PlaybookReasoner.rung)
SYSTEMS = 3
MOMENTS = 40  # of the timeline, for a model


def of(incident: Incident, made: Postmortem) -> Summary:
    """The words that stand: a model's, if it was asked and they hold today; else the template's."""
    plain = template(incident, made)
    steps = Step.objects.filter(run__incident=incident, agent=Step.Agent.POSTMORTEM, output__isnull=False)
    step = steps.defer("brief").order_by("-pk").first()
    if step is None or step.output is None:
        return Summary(plain, PlaybookReasoner.rung)
    if step.rung == PlaybookReasoner.rung:
        return Summary(plain, step.rung, why=step.rung_reason)
    wrong = untrue(step.output, incident, facts(made))
    if wrong is not None:
        why = f"the words of the {step.rung} were dropped: {wrong}"
        return Summary(plain, PlaybookReasoner.rung, why=why)
    return Summary(step.output["summary"], step.rung, step.rung_reason, step.finished_at)


def template(incident: Incident, made: Postmortem) -> str:
    """A paragraph from the records, as they are."""
    return " ".join(filter(None, _sentences(incident, made)))


def _sentences(incident: Incident, made: Postmortem) -> Iterator[str]:
    impact, cause = made.impact, made.cause
    where = ", ".join(impact.systems[:SYSTEMS])
    more = len(impact.systems) - SYSTEMS
    on = f" on {where}" if where else ""
    others = f" and {more} more" if more > 0 else ""
    lasted = duration(timedelta(seconds=impact.seconds))
    span = f"lasted {lasted}" if impact.until else f"goes on since {lasted}, as far as anybody knows"
    yield f"{impact.alert_name} ({impact.severity}){on}{others} began at {local(impact.since)} and {span}."
    yield _sentence(impact.description)
    if cause.text is None:
        yield "No cause was found."
    elif cause.crews is not None or not cause.certainty:
        yield f"The cause, as {cause.by or 'a person'} sees it: {_sentence(cause.text)}"
    else:
        yield f"The crew's cause ({cause.certainty.lower()}): {_sentence(cause.text)}"
    if cause.rating is not None:
        yield f"{cause.rated_by} calls the crew's cause {incident.get_rating_display()}."
    done = [change for change in made.changes if change.began_at is not None]
    told = "; ".join(f"{change.what} ({change.decided or 'nobody knows by whom'})" for change in done)
    yield f"Done: {told}." if done else "Nothing was changed."
    yield f"{made.ending.standing}. {made.ending.why}"


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if not text or text[-1] in ".!?…" else f"{text}."


def local(moment: datetime) -> str:
    """By TZ, with its name: a postmortem is read elsewhere, too."""
    return f"{moment.astimezone(ZoneInfo(settings.TIME_ZONE)):%Y-%m-%d %H:%M:%S %Z}"


def facts(made: Postmortem) -> dict[str, Any]:
    """What a model is told: what every reader sees, without what things cost."""
    impact = made.impact
    return {
        "verdict": made.ending.verdict or OPEN,
        "stands": made.ending.standing,
        "ended": {"why": made.ending.why, "note": made.ending.note, "looks": made.ending.looks},
        "alert": impact.alert_name,
        "severity": impact.severity,
        "description": impact.description,
        "alerts": impact.alerts,
        "systems": list(impact.systems[:20]),
        "since": local(impact.since),
        "until": local(impact.until) if impact.until else None,
        "lasted": [duration(timedelta(seconds=impact.seconds)), f"{impact.seconds:.0f} s"],
        "durations": {each.name: duration(timedelta(seconds=each.seconds)) for each in made.spans},
        "cause": {
            "text": made.cause.text,
            "by": made.cause.by,
            "certainty": made.cause.certainty,
            "a_person_says_of_it": made.cause.rating,
            "the_crew_had_said": made.cause.crews,
            "because": [claim.text for claim in made.cause.evidence],
            "weighed_and_dropped": list(made.cause.dropped),
        },
        "changes": [
            {
                "what": each.what,
                "status": each.status,
                "why": each.reason,
                "decided": each.decided,
                "helped": each.helped,
            }
            for each in made.changes
        ],
        "past": [asdict(each) for each in made.remembered],
        "timeline": _moments(made),
    }


def _moments(made: Postmortem) -> list[str]:
    zone = ZoneInfo(settings.TIME_ZONE)
    told = [
        f"{moment.at.astimezone(zone):%H:%M:%S} {moment.actor}: {moment.text[:200]}"
        for chapter in made.timeline
        for moment in chapter.moments
        if moment.kind != Event.Kind.REQUESTED and moment.actor != Step.Agent.POSTMORTEM
    ]
    half = MOMENTS // 2
    return told if len(told) <= MOMENTS else [*told[:half], "…", *told[-half:]]
