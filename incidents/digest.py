"""What comes in quiet hours and can wait does, and is told in one message to each channel afterwards.

Only what interrupts, about a critical, does not wait, and a person's call for help. It takes along what was
held of its incident before, so an incident's messages keep their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from incidents.escalation import answered
from incidents.models import Event, Incident, Notification, Verdict
from incidents.queue import LIVE, State
from incidents.quiet import quiet_until
from incidents.wording import incident_link, people_time

Kind = Notification.Kind
INTERRUPTS = (Kind.OPENED, Kind.DECISION, Kind.ENDED, Kind.ESCALATION, Kind.CALL)
UNFIXED = (Verdict.NOT_FIXED, Verdict.RELAPSED, Verdict.UNKNOWN)
# So long a digest waits for those that were held for it, and that workers take up at the same moment.
GATHER = timedelta(seconds=2)
INCIDENTS = 20


def hold(row: Notification) -> bool:
    """Whether a claimed message is not told by itself now: it waits for the morning, or joins a digest."""
    now = timezone.now()
    until = quiet_until(settings.QUIET_HOURS, now, ZoneInfo(settings.TIME_ZONE))
    if until is not None and not _interrupts(row):
        row.postpone(seconds=(until - now).total_seconds(), held_until=until)
        return True
    if row.kind == Kind.DIGEST:
        return _waits(row, now)
    return row.held_until is not None and _joins(row, row.held_until)


def _interrupts(row: Notification) -> bool:
    is_critical = row.incident is not None and row.incident.severity_class == "critical"
    return row.kind == Kind.CALL or (is_critical and row.kind in INTERRUPTS)


def _joins(row: Notification, held_until: datetime) -> bool:
    """Give a held message to the digest of its channel, if need be later; False when that is told already."""
    key = f"digest:{held_until.astimezone(UTC):%Y%m%dT%H%M%S}:{row.channel}"
    due_at = timezone.now() + GATHER
    digest = Notification(
        kind=Kind.DIGEST, dedup_key=key, channel=row.channel, title="While you slept", due_at=due_at
    )
    with transaction.atomic():
        Notification.objects.bulk_create([digest], ignore_conflicts=True)
        kept = Notification.objects.select_for_update().get(dedup_key=key)
        if kept.state == State.WAITING:
            row.finish(carrier=kept)
        elif kept.state == State.RUNNING:
            row.postpone(seconds=GATHER.total_seconds())
    return kept.state in LIVE


def _waits(row: Notification, now: datetime) -> bool:
    """Whether a claimed digest waits for a message that a worker has just now, or had when it was killed."""
    running = Notification.objects.filter(channel=row.channel, state=State.RUNNING, held_until__lte=now)
    if not running.exclude(kind=Kind.DIGEST).exists():
        return False
    row.postpone(seconds=GATHER.total_seconds())
    return True


def take_along(row: Notification) -> list[Notification]:
    """What a claimed message tells beside itself, oldest first: a digest all that was held for its channel,
    another what was held of its incident.
    """
    held = Notification.objects.filter(channel=row.channel, state=State.WAITING, held_until__isnull=False)
    if row.kind == Kind.DIGEST:
        held = held.exclude(kind=Kind.DIGEST).filter(held_until__lte=timezone.now())
    elif settings.QUIET_HOURS and row.incident_id is not None:
        held = held.filter(incident=row.incident_id, pk__lt=row.pk)
    else:
        return []
    held.update(state=State.DONE, carrier=row)
    return list(row.carried.select_related("incident").order_by("pk"))


def words(row: Notification, held: list[Notification]) -> tuple[str, str]:
    """Title and body of a message with what it tells along."""
    if row.kind != Kind.DIGEST:
        before = [f"Before, {_line(each)}" for each in held]
        return row.title, "\n".join([row.body, *before])
    by_incident: dict[Incident, list[Notification]] = {}
    for each in held:
        if each.incident is not None:
            by_incident.setdefault(each.incident, []).append(each)
    if len(held) == 1:
        return held[0].title, "\n".join([held[0].body, *_since(by_incident)])
    sections = sorted(by_incident.items(), key=lambda item: not _needs_you(*item))
    lines = [_section(incident, told) for incident, told in sections[:INCIDENTS]]
    if len(sections) > INCIDENTS:
        lines.append(f"… and {len(sections) - INCIDENTS} more incidents")
    others = [f"{_line(each)}\n{each.body}" for each in held if each.incident is None]
    return _title(by_incident, len(others)), "\n\n".join([*lines, *others])


def _title(by_incident: dict[Incident, list[Notification]], others: int) -> str:
    """`While you slept: 3 incidents, 2 verified, 1 needs you`."""
    verified = sum(incident.verdict == Verdict.VERIFIED for incident in by_incident)
    needs = sum(_needs_you(incident, told) for incident, told in by_incident.items())
    parts = [
        _many(len(by_incident), "incident") if by_incident else "",
        f"{verified} verified" if verified else "",
        f"{needs} {'needs' if needs == 1 else 'need'} you" if needs else "",
        _many(others, "other message" if by_incident else "message") if others else "",
    ]
    return f"While you slept: {', '.join(filter(None, parts))}"


def _section(incident: Incident, told: list[Notification]) -> str:
    lines = [_line(each) for each in told]
    if _needs_you(incident, told):
        lines.append(next(row for row in reversed(told) if row.kind in INTERRUPTS or row is told[0]).body)
    elif incident_link(incident) not in lines:
        lines.append(incident_link(incident))
    return "\n".join([*lines, *_since({incident: told})])


def _line(row: Notification) -> str:
    return f"{people_time(row.created_at)} {row.title}"


def _since(by_incident: dict[Incident, list[Notification]]) -> Iterable[str]:
    """What became of questions while they were held: nobody saw those that expired."""
    for incident, told in by_incident.items():
        if not any(row.kind == Kind.DECISION for row in told):
            continue
        for event in incident.events.filter(kind=Event.Kind.EXPIRED, at__gte=told[0].created_at):
            yield f"{people_time(event.at)} {event.text}. To be asked again: {incident_link(incident)}"


def _needs_you(incident: Incident, told: list[Notification]) -> bool:
    """Whether it ended unfixed, or waits for a person; and nobody has answered."""
    asked = incident.verdict is None and any(row.kind == Kind.DECISION for row in told)
    return (asked or incident.verdict in UNFIXED) and answered(incident, told[0].created_at) is None


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
