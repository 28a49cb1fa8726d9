"""Telling people. A message is a row per channel, marked sent after sending; three things interrupt.

A critical that opened, a decision that is needed, an end without a fix. The rest updates. The first 90
characters say it all, for they are what a locked phone shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import apprise
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from incidents import services
from incidents.models import Event, Incident, Notification, Target
from incidents.queue import State, hint, working
from incidents.redaction import clean

FIRST_LINE = 90
# A critical waits this long for the crew's words, and is told without them after that.
ANALYSIS_SECONDS = 40
SHORT_SEVERITY = {"critical": "CRIT", "warning": "WARN", "info": "INFO", "other": "NOTE"}
NO_CHANNEL = "none"
SUMMARY_LINES = 20
TITLE_LENGTH = 200
# So long a message waits for an earlier one of its incident, that "fixed" does not come before "broken". One
# that a chat never takes must not hold up the others for good.
IN_ORDER = timedelta(minutes=10)


class NotifyError(Exception):
    """A channel did not take a message. `permanent`: trying again is of no use."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


def channels() -> Iterator[tuple[str, str]]:
    """(name, URL) of each channel. The name is the scheme and its place; URLs hold secrets."""
    for place, url in enumerate(settings.NOTIFY_URLS, start=1):
        yield f"{urlsplit(url).scheme}-{place}", url


def unreadable() -> list[str]:
    """What Apprise cannot read, by the names of its settings, never by their values; nothing is sent."""
    telegram = f"tgram://{settings.TELEGRAM_BOT_TOKEN}/{settings.TELEGRAM_CHAT_ID}"
    return [
        "TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID" if url == telegram else f"NOTIFY_URLS: number {place}"
        for place, url in enumerate(settings.NOTIFY_URLS, start=1)
        if not apprise.Apprise().add(url)
    ]


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


def incident_link(incident: Incident) -> str:
    """The incident's page when PUBLIC_URL is known, else its number."""
    return (
        f"{settings.PUBLIC_URL}/incidents/{incident.pk}"
        if settings.PUBLIC_URL
        else f"incident #{incident.pk}"
    )


@transaction.atomic
def tell(incident: Incident, kind: Notification.Kind, *, title: str, body: str, transition: str) -> None:
    """One message per transition and channel; saying it again before it is sent replaces its words."""
    keys = _queue(_rows(incident, kind, title=title, body=body, transition=transition, due_at=timezone.now()))
    waiting = Notification.objects.filter(dedup_key__in=keys, state=State.WAITING)
    waiting.update(title=clean(title)[:TITLE_LENGTH], body=clean(body), due_at=timezone.now(), hinted_at=None)
    for pk in waiting.values_list("pk", flat=True):
        hint(Notification, pk)


def tell_once(
    incident: Incident | None, kind: Notification.Kind, *, title: str, body: str, transition: str
) -> None:
    """As `tell`, of an incident or of none; but what was said once stays as it was said."""
    rows = _rows(incident, kind, title=title, body=body, transition=transition, due_at=timezone.now())
    if Notification.objects.filter(dedup_key__in=[row.dedup_key for row in rows]).exists():
        return
    mine = Notification.objects.filter(dedup_key__in=_queue(rows), state=State.WAITING)
    for pk in mine.values_list("pk", flat=True):
        hint(Notification, pk)


def tell_opened(*incidents: Incident, transition: str | None = None) -> None:
    """A critical is told within a minute, even if no step of the crew ran by then.

    `transition`: why, when it is not that the incident opened. It begins with `opened_transition`.
    """
    due_at = timezone.now() + timedelta(seconds=ANALYSIS_SECONDS)
    rows = [
        row
        for incident in incidents
        if incident.severity_class == "critical"
        for row in _rows(
            incident,
            Notification.Kind.OPENED,
            title=headline(incident, "not analysed yet"),
            body=f"{incident.description}\n\nNot analysed yet.\n{incident_link(incident)}",
            transition=transition or opened_transition(incident),
            due_at=due_at,
        )
    ]
    _queue(rows)


def _queue(rows: list[Notification]) -> list[str]:
    """Store those of whose transition there is no row yet; the keys of all."""
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    return [row.dedup_key for row in rows]


def _rows(
    incident: Incident | None,
    kind: Notification.Kind,
    *,
    title: str,
    body: str,
    transition: str,
    due_at: datetime,
) -> list[Notification]:
    """One for each channel."""
    names = [name for name, _url in channels()] or [NO_CHANNEL]
    about = f"{incident.pk}:" if incident else ""
    return [
        Notification(
            incident=incident,
            kind=kind,
            dedup_key=f"{about}{transition}:{name}",
            channel=name,
            title=clean(title)[:TITLE_LENGTH],
            body=clean(body),
            due_at=due_at,
        )
        for name in names
    ]


def tell_summary(adopted: list[Incident]) -> None:
    """One message of all alerts that fired already when homelab first looked."""
    lines = [f"- {incident.alert_name}: {incident.description}" for incident in adopted[:SUMMARY_LINES]]
    if len(adopted) > SUMMARY_LINES:
        lines.append(f"- and {len(adopted) - SUMMARY_LINES} more")
    tell(
        adopted[0],
        Notification.Kind.UPDATE,
        title=f"{len(adopted)} alerts fired already when homelab started",
        body="\n".join(["They are diagnosed, and not acted on.", *lines]),
        transition="adopted",
    )


def opened_transition(incident: Incident) -> str:
    return f"opened:{incident.reopened}"


def supersede_opened(incident: Incident) -> bool:
    """A later message says more than an opening that is still unsent; whether there was one."""
    transition = f"{incident.pk}:{opened_transition(incident)}:"
    unsent = Notification.objects.filter(dedup_key__startswith=transition, state=State.WAITING)
    return bool(unsent.update(state=State.DONE, error="superseded by a later message"))


def deliver(pk: int) -> None:
    """Send one message, if it is due and nobody else does."""
    row: Notification | None = Notification.queue.claim(pk)
    if row is None:
        return
    if row.channel == NO_CHANNEL:
        row.finish()
        return
    url = dict(channels()).get(row.channel)
    if url is None:
        row.fail("this channel is no longer in NOTIFY_URLS", permanent=True)
        return
    before = _failing_before(row)
    if before is not None:
        row.postpone(seconds=max(1.0, (before.due_at - timezone.now()).total_seconds() + 1.0))
        return
    with working(row):
        try:
            _send(url, row.title, row.body)
        except NotifyError as error:
            row.fail(str(error), permanent=error.permanent)
            return
    with transaction.atomic():
        if row.finish(sent_at=timezone.now()):
            services.record(row.incident, Event.Kind.NOTIFIED, row.channel, row.title)
            _wake(row.channel)


def _failing_before(row: Notification) -> Notification | None:
    """The last earlier message of the incident to this channel that was tried, and is not sent yet."""
    if row.incident_id is None or timezone.now() - row.created_at > IN_ORDER:
        return None
    unsent = Notification.objects.filter(state__in=(State.WAITING, State.RUNNING), fence__gt=0)
    earlier = unsent.filter(incident=row.incident_id, channel=row.channel, pk__lt=row.pk)
    return earlier.order_by("-due_at").first()


def _wake(channel: str) -> None:
    """The channel takes messages again: what failed or waited for that is due now."""
    tried = Notification.objects.filter(channel=channel, state=State.WAITING, fence__gt=0)
    tried.filter(due_at__gt=timezone.now()).update(due_at=timezone.now(), hinted_at=None)


def _send(url: str, title: str, body: str) -> None:
    """Through Apprise, which escapes plain text for the channel. Its errors are a boolean."""
    sender = apprise.Apprise()
    if not sender.add(url):
        raise NotifyError("Apprise cannot read this URL of NOTIFY_URLS", permanent=True)
    for service in sender:
        if service.overflow_mode == apprise.OverflowMode.UPSTREAM:  # as it is unless the URL says otherwise
            service.overflow_mode = apprise.OverflowMode.TRUNCATE  # what is too long would never be taken
    if not sender.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
        raise NotifyError("the channel did not take the message")
