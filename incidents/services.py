"""The only writer of incidents and events. Status changes are compare-and-swap along one table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from incidents import counts, escalation, events, memory, queue, rawinsert, rawsql, signals, tally
from incidents.channels import NO_CHANNEL
from incidents.models import (
    RESOLUTION_STATUS,
    Event,
    Incident,
    MemoryEntry,
    Notification,
    Rating,
    Verdict,
)
from incidents.queue import hint
from incidents.redaction import clean

PROVED = (Verdict.VERIFIED, Verdict.CLEARED_BEFORE_ACTION)
# With another cause of the crew's: what was said of the one before holds no more.
UNRATED: dict[str, Any] = {"rating": None, "rated_by": "", "rated_at": None}


class IllegalTransition(ValueError):
    """The status table has no such edge: a mistake of the program, not of a race."""


@transaction.atomic(savepoint=False)  # most callers have a transaction, and none goes on after an error here
def transition(
    incident: Incident,
    to: Incident.Status,
    *,
    actor: str,
    text: str = "",
    only_if: dict[str, Any] | None = None,
    **fields: Any,
) -> bool:
    """Move an incident along the table; False when another worker moved it first, or `only_if` fails."""
    if to not in Incident.TRANSITIONS[incident.status]:
        raise IllegalTransition(f"#{incident.pk}: {incident.status} -> {to}")
    found = {"id": incident.pk, "status": incident.status, **(only_if or {})}
    where = " AND ".join(f"{name} = {{}}" for name in found)
    if not rawsql.change(Incident, {"status": to, **fields}, where, *found.values()):
        return False
    if text or incident.status != to:
        events.record(incident, Event.Kind.STATUS, actor, text or f"{incident.status} → {to}", {"to": to})
    incident.status = to
    for name, value in fields.items():
        setattr(incident, name, value)
    return True


@transaction.atomic
def close(
    incident: Incident,
    verdict: Verdict,
    *,
    actor: str,
    note: str,
    proved_at: datetime | None = None,
    only_if_unjoined: bool = False,
) -> bool:
    """Give an incident its verdict; False when it had one already.

    `only_if_unjoined`: also False when another alert joined since the incident was read, for then the
    proof has not looked at all of it.
    """
    now = timezone.now()
    seconds = None
    if verdict in PROVED:
        seconds = max(0.0, ((proved_at or now) - incident.started_at).total_seconds())
    won = transition(
        incident,
        Incident.Status.CLOSED,
        actor=actor,
        text=f"{verdict}: {note}",
        only_if={"joins": incident.joins} if only_if_unjoined else None,
        verdict=verdict,
        closed_at=now,
        proof_note=note,
        resolution_seconds=seconds,
    )
    if won:
        tally.add(counts.judged(incident, None))
        end_groups(incident)
        remember_again(incident.pk)  # read anew: a person may have said something since
        signals.incident_closed.send(Incident, incident_id=incident.pk)
    return won


@transaction.atomic
def reopen(incident: Incident, *, actor: str, text: str) -> bool:
    """A closed incident is worked on again: its alert came back."""
    verdict, seconds = incident.verdict, incident.resolution_seconds
    won = transition(
        incident,
        Incident.Status.NEW,
        actor=actor,
        text=text,
        only_if={"verdict": verdict, "reopened": incident.reopened},
        verdict=None,
        closed_at=None,
        ended_at=None,
        resolution_seconds=None,
        reopened=incident.reopened + 1,
        adopted=False,  # it fires since we look
        acknowledged_at=None,  # that was of what had ended
        acknowledged_by="",
        taken_over_at=None,
        taken_over_by="",
    )
    if won:
        tally.add(counts.judged(incident, verdict, seconds))
        events.record(incident, Event.Kind.REOPENED, actor, text)
        signals.incidents_opened.send(Incident, incident_ids=[incident.pk])
    return won


def judged_by_person(incident: Incident) -> bool:
    """Whether a person gave the verdict. It stands: what fires later is another incident."""
    said = incident.events.filter(kind=Event.Kind.ANNOTATED, data__has_key="verdict")
    return incident.verdict == Verdict.RESOLVED_BY_HUMAN or said.exists()


def end_groups(incident: Incident) -> None:
    """An incident that has its verdict takes no more alerts of its group."""
    incident.group_keys.filter(ended_at=None).update(ended_at=timezone.now())


def remember(incident: Incident) -> None:
    """Put what is known of an incident on the way to the memory."""
    hint(MemoryEntry, memory.remember(incident).pk)


def remember_again(incident_pk: int) -> None:
    """What was learnt of an incident after its end; while it is open, its end will tell."""
    for incident in Incident.objects.closed().select_related("target").filter(pk=incident_pk):
        remember(incident)


@transaction.atomic
def end_when_all_resolved(incident: Incident, *, actor: str) -> bool:
    """Mark the end of the last alert, which wakes the proof; a sender's resolve proves nothing."""
    if incident.episodes.firing().exists():
        return False
    if not Incident.objects.filter(pk=incident.pk, ended_at=None).update(ended_at=timezone.now()):
        return False
    events.record(incident, Event.Kind.RESOLVED_BY_SENDER, actor, "all alerts resolved by their sender")
    signals.alerts_ended.send(Incident, incident_id=incident.pk)
    return True


@transaction.atomic
def acknowledge(incident: Incident, *, by: str) -> bool:
    won = Incident.objects.filter(pk=incident.pk, acknowledged_at=None).update(
        acknowledged_at=timezone.now(), acknowledged_by=by
    )
    if won:
        events.record(incident, Event.Kind.ACKNOWLEDGED, by, "acknowledged")
    return bool(won)


@transaction.atomic
def take_over(incident: Incident, *, by: str) -> bool:
    """A person has it: the crew only watches this incident; False when it is over, or somebody has it."""
    free = Incident.objects.unresolved().filter(pk=incident.pk, taken_over_at=None)
    if not free.update(taken_over_at=timezone.now(), taken_over_by=by):
        return False
    acknowledge(incident, by=by)
    events.record(incident, Event.Kind.TAKEN_OVER, by, f"{by} has it; the crew only watches")
    signals.incident_taken_over.send(Incident, incident_id=incident.pk)
    return True


@transaction.atomic
def give_back(incident: Incident, *, by: str) -> bool:
    """The crew goes on where a person had it; False when it is over, or nobody had it."""
    taken = Incident.objects.unresolved().filter(pk=incident.pk, taken_over_at__isnull=False)
    if not taken.update(taken_over_at=None, taken_over_by=""):
        return False
    events.record(incident, Event.Kind.GIVEN_BACK, by, "the crew goes on")
    signals.incident_given_back.send(Incident, incident_id=incident.pk)
    return True


@transaction.atomic
def rate(incident: Incident, *, by: str, rating: Rating) -> bool:
    """A person's word on the crew's cause; the last one counts. What is not right is remembered as no cause.

    False when the crew gave no cause, or another one since the incident was read: that is not rated.
    """
    if not incident.root_cause:
        return False
    said = {"rating": rating, "rated_by": by}
    rows = Incident.objects.filter(pk=incident.pk, root_cause=incident.root_cause)
    if not rows.exclude(**said).update(**said, rated_at=timezone.now()):
        return rows.exists()  # said twice
    text = f"the crew's cause is {Rating(rating).label}"
    events.record(incident, Event.Kind.RATED, by, text, {"rating": rating, "cause": incident.root_cause})
    incident.refresh_from_db(fields=[*said, "rated_at"])
    remember_again(incident.pk)
    return True


def add_note(incident: Incident, *, by: str, text: str) -> Event:
    """A line of the timeline, of an incident that is open or over; any number. ValueError when it is empty.

    It stays in the timeline: what the memory is to learn is `annotate`'s note.
    """
    if not text.strip():
        raise ValueError("a note wants words")
    return events.record(incident, Event.Kind.NOTED, by, text.strip())


@transaction.atomic
def escalate(incident: Incident, *, by: str, why: str = "") -> bool:
    """A person wants others at it, now: every further level is told at once, also in quiet hours, and
    whether somebody has answered or not. Who would be told later, because nobody answers, is told now.

    False when the incident is closed, or such a call is on its way.
    """
    locked = Incident.objects.select_for_update(of=("self",)).select_related("target").get(pk=incident.pk)
    if locked.status == Incident.Status.CLOSED or escalation.is_calling(locked):
        return False
    why = clean(why.strip())
    rows = escalation.call(locked, by=by, why=why)
    rawinsert.insert(rows)
    for row in rows:
        hint(Notification, row.pk)
    channels = [row.channel for row in rows if row.channel != NO_CHANNEL]
    told = f"calls {', '.join(channels)}" if channels else "there is nobody to call: NOTIFY_URLS is not set"
    text = f"{told}: {why}" if why else told
    events.record(locked, Event.Kind.ESCALATED, by, text, {"channels": channels})
    return True


@transaction.atomic
def annotate(
    incident: Incident,
    *,
    by: str,
    cause: str | None = None,
    note: str | None = None,
    verdict: Verdict | None = None,
) -> Incident:
    """What a person knows better. `verdict` may be `false_alarm` or `resolved_by_human`; None keeps it."""
    incident = Incident.objects.select_for_update().get(pk=incident.pk)
    was_over = incident.status == Incident.Status.CLOSED
    incident.human_cause = incident.human_cause if cause is None else clean(cause)
    incident.human_note = incident.human_note if note is None else clean(note)
    incident.annotated_by, incident.annotated_at = by, timezone.now()
    incident.save(update_fields=["human_cause", "human_note", "annotated_by", "annotated_at"])
    parts = {"cause": cause, "note": note, "verdict": verdict}
    said = {name: words for name, words in parts.items() if words is not None}
    text = "; ".join(f"{name}: {words}" if words else f"{name} taken back" for name, words in said.items())
    events.record(incident, Event.Kind.ANNOTATED, by, text, said)
    if verdict is not None:
        _human_verdict(incident, verdict, by)
    if was_over:  # else its end tells the memory, which may be now
        remember(incident)
    signals.incident_annotated.send(Incident, incident_id=incident.pk)
    return incident


@transaction.atomic
def resolve(incident: Incident, *, by: str, note: str | None = None) -> bool:
    """A person says that it is over, whatever the crew makes of it; False when it is resolved already."""
    found = Incident.objects.select_for_update(of=("self",)).get(pk=incident.pk)
    if RESOLUTION_STATUS[found.verdict] == RESOLUTION_STATUS[Verdict.RESOLVED_BY_HUMAN]:
        return False
    annotate(found, by=by, note=note, verdict=Verdict.RESOLVED_BY_HUMAN)
    return True


def _human_verdict(incident: Incident, verdict: Verdict, by: str) -> None:
    if verdict not in (Verdict.FALSE_ALARM, Verdict.RESOLVED_BY_HUMAN):
        raise ValueError(f"a person gives false_alarm or resolved_by_human, not {verdict}")
    if incident.status != Incident.Status.CLOSED:
        close(incident, verdict, actor=by, note=f"said by {by}")
    elif incident.verdict != verdict:
        before, seconds = incident.verdict, incident.resolution_seconds
        fields = {"verdict": verdict, "resolution_seconds": None, "proof_note": f"said by {by}"}
        Incident.objects.filter(pk=incident.pk).update(**fields)
        events.record(incident, Event.Kind.STATUS, by, f"{before} → {verdict}", {"verdict": verdict})
        incident.refresh_from_db()
        tally.add(counts.judged(incident, before, seconds))


@transaction.atomic
def retry(row: queue.QueueRow, *, by: str) -> bool:
    """A person lets a dead row live again; False when it is not dead."""
    won = queue.retry(row)
    if won:
        _said_of_dead(row, Event.Kind.RETRIED, by, "tries again")
    return won


@transaction.atomic
def give_up(row: queue.QueueRow, *, by: str) -> bool:
    """A person lets a dead row rest, so that nobody is told of it any more; False when it is not dead."""
    won = queue.give_up(row, by=by)
    if won:
        _said_of_dead(row, Event.Kind.GIVEN_UP, by, "gives up")
    return won


def _said_of_dead(row: queue.QueueRow, kind: Event.Kind, by: str, does: str) -> None:
    what = row._meta.verbose_name
    data = {"row": row._meta.label, "id": row.pk, "error": row.error}
    events.record(getattr(row, "incident", None), kind, by, f"{does}: {what} {row.pk}, {row}", data)
