"""A critical that nobody answers is told to the next channel, and so on; at last to the first ones again.

A row a level is stored when the critical is told first. What it says, and whether it is needed at all, is
found out when it is due. An answer: acknowledged, taken over, annotated, rated, noted, or an action approved
or rejected. A person need not wait for that: `call`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from incidents.channels import NO_CHANNEL, levels
from incidents.models import Event, Incident, Notification
from incidents.queue import LIVE
from incidents.redaction import clean
from incidents.wording import headline, incident_link, people_time, standing

ANSWERS = (
    Event.Kind.ACKNOWLEDGED,
    Event.Kind.TAKEN_OVER,
    Event.Kind.ANNOTATED,
    Event.Kind.RATED,
    Event.Kind.NOTED,
    Event.Kind.APPROVED,
    Event.Kind.REJECTED,
)
LOOK_AGAIN = timedelta(seconds=10)
CALLER = 30  # characters of a caller's name in a headline
Kind = Notification.Kind


def rows(incident: Incident, transition: str, *, now: datetime) -> list[Notification]:
    """One for each level and channel, not saved, of a critical that is told to the first channels.

    `transition`: why. `now`: not after the first of its messages was made.
    """
    return [
        Notification(
            incident=incident,
            kind=Kind.ESCALATION,
            dedup_key=f"{incident.pk}:escalated:{transition}:{name}",
            channel=name,
            title=clean(headline(incident, "unanswered", now=now)),
            due_at=now + number * _pause(),
            created_at=now,
        )
        for number, names in enumerate(levels()[1:], start=1)
        for name in names
    ]


def call(incident: Incident, *, by: str, why: str) -> list[Notification]:
    """One for each channel beyond the first level (where there is no other: of the first), not saved, of an
    incident that a person wants others at. Who would be told later, because nobody answers, is told now.
    """
    first, *further = levels()
    names = dict.fromkeys(name for each in further or [first] for name in each)
    number = incident.events.filter(kind=Event.Kind.ESCALATED).count() + 1
    lines = [
        f"{by} calls for help: {why}" if why else f"{by} calls for help.",
        f"It stands: {standing(incident)}.",
        incident.description,
        _cause(incident),
        incident_link(incident),
    ]
    return [
        Notification(
            incident=incident,
            kind=Kind.CALL,
            dedup_key=f"{incident.pk}:call:{number}:{name}",
            channel=name,
            title=clean(headline(incident, f"{by[:CALLER]} calls for help")),
            body=clean("\n".join(filter(None, lines))),
        )
        for name in names or [NO_CHANNEL]
    ]


def is_calling(incident: Incident) -> bool:
    """Whether a person's call is on its way to a channel that has not refused it."""
    live = incident.notifications.filter(kind=Kind.CALL, state__in=LIVE)
    return live.filter(attempts=0).exists()


def words(row: Notification) -> tuple[str, str] | None:
    """Title and body of a claimed row. None when it need not be told, or not yet; then it is given back."""
    assert row.incident is not None
    if (why := _over(row, row.incident)) is not None:
        row.finish(why=why)
        return None
    now = timezone.now()
    if (wait := _due_at(row, now) - now) > timedelta(0):
        row.postpone(seconds=wait.total_seconds())
        return None
    return _words(row, row.incident, now)


def answered(incident: Incident, since: datetime) -> str | None:
    """Who answered and how, or None. An acknowledgement stands until the incident is opened again."""
    if incident.taken_over_at is not None:
        return f"taken over by {incident.taken_over_by}"
    if incident.acknowledged_at is not None:
        return f"acknowledged by {incident.acknowledged_by}"
    event = incident.events.filter(kind__in=ANSWERS, at__gte=since).order_by("-pk").first()
    return f"{event.get_kind_display().lower()} by {event.actor}" if event else None


def _over(row: Notification, incident: Incident) -> str | None:
    if row.channel not in (name for names in levels()[1:] for name in names):
        return "the settings name it no more"
    if incident.status == Incident.Status.CLOSED:
        return "the incident is closed"
    newer = incident.notifications.filter(created_at__gt=row.created_at)
    if newer.filter(kind=Kind.CALL).exists():
        return "a person called everybody"
    opened_again = newer.filter(kind=Kind.ESCALATION).exists()
    return "it opened again" if opened_again else answered(incident, row.created_at)


def _due_at(row: Notification, now: datetime) -> datetime:
    """A pause after those before it were told; at once when they were tried in vain."""
    before = _level_before(row)
    sent: datetime | None = before.aggregate(at=Min("sent_at"))["at"]
    if sent is not None:
        return sent + _pause()
    untried = before.filter(state__in=LIVE, attempts=0)
    due: datetime | None = untried.aggregate(at=Max("due_at"))["at"]
    return now if due is None else max(due + _pause(), now + LOOK_AGAIN)


def _level_before(row: Notification) -> QuerySet[Notification]:
    every = levels()
    number = len(every) - 1 if row.channel in every[0] else every.index([row.channel])
    told = _told(row)
    if number == 1:
        return told.filter(channel__in=[*every[0], NO_CHANNEL]).exclude(kind=Kind.ESCALATION)
    return told.filter(channel__in=every[number - 1], kind=Kind.ESCALATION)


def _told(row: Notification) -> QuerySet[Notification]:
    """What was queued about the incident since it was told as a critical."""
    return Notification.objects.filter(incident=row.incident_id, created_at__gte=row.created_at)


def _words(row: Notification, incident: Incident, now: datetime) -> tuple[str, str]:
    told = list(_told(row).exclude(pk=row.pk).order_by("sent_at", "pk"))
    sent: dict[str, datetime] = {}
    for each in told:
        if each.sent_at is not None:
            sent.setdefault(each.channel, each.sent_at)
    minutes = int((now - min(sent.values(), default=row.created_at)).total_seconds() // 60)
    is_last = row.channel in levels()[0]
    rest = f"nobody answered, {minutes} min" if is_last else f"unanswered {minutes} min"
    missed = dict.fromkeys(each.channel for each in told if each.channel not in sent and each.attempts)
    lines = [
        incident.description,
        _cause(incident),
        *(f"{people_time(at)} told {channel}" for channel, at in sent.items()),
        *(f"Not reached: {channel}" for channel in missed),
        "Nobody has acknowledged it, taken it over or answered.",
        incident_link(incident),
    ]
    return clean(headline(incident, rest, now=now)), clean("\n".join(filter(None, lines)))


def _cause(incident: Incident) -> str:
    """A line, or nothing."""
    if not incident.cause:
        return ""
    whose = "a person says" if incident.human_cause else incident.certainty
    return f"Cause ({whose}): {incident.cause}"


def _pause() -> timedelta:
    return timedelta(minutes=settings.ESCALATE_MINUTES)
