"""Telling people. A message is a row per channel, marked sent after sending; three things interrupt.

A critical that opened, a decision that is needed, an end without a fix. The rest updates. The first 90
characters say it all, for they are what a locked phone shows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import apprise
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from opentelemetry.trace import Span, SpanKind

from incidents import digest, escalation, events, rawinsert, rawsql, tally, tracing
from incidents.channels import NO_CHANNEL, channels, url_of
from incidents.inert import as_markdown, inert, reads_markdown, words_only
from incidents.models import Event, Incident, Notification
from incidents.queue import LIVE, State, hint, working
from incidents.redaction import clean
from incidents.wording import headline, incident_link

UNLESS_SENT = """
ON CONFLICT (dedup_key) DO UPDATE SET title = excluded.title, body = excluded.body, due_at = excluded.due_at,
hinted_at = NULL WHERE incidents_notification.state = 'waiting'"""
# A critical waits this long for the crew's words, and is told without them after that.
ANALYSIS_SECONDS = 40
SUMMARY_LINES = 20
Body = str | Callable[[str], str]
Kind = Notification.Kind
# Was taken up, and is not sent: neither held for the end of quiet hours, nor an escalation before its time.
TRIED = Q(state__in=LIVE, fence__gt=0, held_until=None) & ~Q(kind=Kind.ESCALATION, attempts=0)
TITLE_LENGTH = 200
# After so many failures a message goes out in words alone: it may be its markup that the channel refuses.
REFUSALS = 2
# So long a message waits for an earlier one of its incident, that "fixed" does not come before "broken". One
# that a chat never takes must not hold up the others for good.
IN_ORDER = timedelta(minutes=10)


class NotifyError(Exception):
    """A channel did not take a message. `permanent`: trying again is of no use."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


@dataclass(frozen=True)
class Message:
    """What is sent for a row, and the rows that were held and are told along."""

    title: str
    body: str
    along: list[Notification]


def unreadable() -> list[str]:
    """What Apprise cannot read, by the names of its settings, never by their values; nothing is sent."""
    telegram = f"tgram://{settings.TELEGRAM_BOT_TOKEN}/{settings.TELEGRAM_CHAT_ID}"
    return [
        "TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID" if url == telegram else f"{name}: number {place}"
        for name in ("NOTIFY_URLS", "ESCALATION_URLS")
        for place, url in enumerate(getattr(settings, name), start=1)
        if not apprise.Apprise().add(url)
    ]


@transaction.atomic(savepoint=False)
def tell(incident: Incident, kind: Kind, *, title: str, body: Body, transition: str) -> None:
    """One message per transition and channel; saying it again before it is sent replaces its words.

    `body`: the words, or what makes them for a channel, by its name.
    """
    rows = _rows(incident, kind, title=title, body=body, transition=transition, due_at=timezone.now())
    for pk in rawinsert.put(rows, UNLESS_SENT):
        hint(Notification, pk)


def tell_once(incident: Incident | None, kind: Kind, *, title: str, body: str, transition: str) -> None:
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
    now = timezone.now()
    due_at = now + timedelta(seconds=ANALYSIS_SECONDS)
    rows = []
    for incident in incidents:
        if incident.severity_class != "critical":
            continue
        why = transition or opened_transition(incident)
        rows += _rows(
            incident,
            Kind.OPENED,
            title=headline(incident, "not analysed yet"),
            body=f"{incident.description}\n\nNot analysed yet.\n{incident_link(incident)}",
            transition=why,
            due_at=due_at,
        )
        rows += escalation.rows(incident, why, now=now)
    _queue(rows)


def _queue(rows: list[Notification]) -> list[str]:
    """Store those of whose transition there is no row yet; the keys of all."""
    Notification.objects.bulk_create(rows, ignore_conflicts=True)
    return [row.dedup_key for row in rows]


def _rows(
    incident: Incident | None,
    kind: Kind,
    *,
    title: str,
    body: Body,
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
            body=clean(body(name) if callable(body) else body),
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
        Kind.UPDATE,
        title=f"{len(adopted)} alerts fired already when homelab started",
        body="\n".join(["They are diagnosed, and not acted on.", *lines]),
        transition="adopted",
    )


def opened_transition(incident: Incident) -> str:
    return f"opened:{incident.reopened}"


def supersede_opened(incident: Incident) -> bool:
    """A later message says more than an opening that is still unsent; whether there was one."""
    transition = f"{incident.pk}:{opened_transition(incident)}:"
    told = {"state": State.DONE, "error": "superseded by a later message"}
    unsent = "dedup_key LIKE {} AND state = 'waiting'"
    return bool(rawsql.change(Notification, told, unsent, f"{transition}%"))


def deliver(pk: int) -> None:
    """Send one message, if it is due and nobody else does."""
    row: Notification | None = Notification.queue.claim(pk)
    if row is None:
        return
    if row.channel == NO_CHANNEL:
        row.finish()
        return
    message = _message(row)
    if message is None:
        return
    url = url_of(row.channel)
    if url is None:
        row.fail("this channel is no longer in the settings", permanent=True)
        return
    about = {"homelab.notification.kind": row.kind, "homelab.channel": row.channel}
    with tracing.work(row.incident, f"notify {row.kind}", kind=SpanKind.CLIENT, attributes=about) as span:
        _deliver(row, message, url, span)


def _deliver(row: Notification, message: Message, url: str, span: Span) -> None:
    with working(row):
        try:
            _send(url, message.title, message.body, words=row.attempts >= REFUSALS)
        except NotifyError as error:
            tracing.failed(span, type(error).__name__)
            with transaction.atomic():
                row.fail(str(error), permanent=error.permanent)
                tally.add([tally.one("notifications", row.channel, "failed")])
            return
    now = timezone.now()
    with transaction.atomic():
        if row.finish(sent_at=now, title=message.title, body=message.body):
            tally.add([tally.one("notifications", row.channel, "sent")])
            for each in (row, *message.along):
                if each.kind != Kind.DIGEST:
                    events.record(each.incident, Event.Kind.NOTIFIED, row.channel, each.title)
            if message.along:
                row.carried.update(sent_at=now)
            _wake(row.channel)


def _message(row: Notification) -> Message | None:
    """What a claimed row says now; None when it says nothing, or not yet: then the row is given back."""
    along: list[Notification] = []
    if row.kind == Kind.ESCALATION:
        words = escalation.words(row)
    elif digest.hold(row):
        words = None
    elif row.kind != Kind.CALL and (until := _behind(row)) is not None:
        row.postpone(seconds=max(1.0, (until - timezone.now()).total_seconds() + 1.0))
        words = None
    else:
        along = digest.take_along(row)
        words = digest.words(row, along)
    return Message(*words, along) if words else None


def _behind(row: Notification) -> datetime | None:
    """When the earlier messages of the incident to this channel are tried again that are not sent yet."""
    if row.incident_id is None or timezone.now() - row.created_at > IN_ORDER:
        return None
    earlier = Notification.objects.filter(incident=row.incident_id, channel=row.channel, pk__lt=row.pk)
    in_digest = Q(carrier__state__in=LIVE)
    times = earlier.filter(TRIED | in_digest).values_list(Coalesce("carrier__due_at", "due_at"), flat=True)
    return max(times, default=None)


def _wake(channel: str) -> None:
    """The channel takes messages again: what failed or waited for that is due now."""
    waiting = Notification.objects.filter(TRIED, channel=channel, state=State.WAITING)
    waiting.filter(due_at__gt=timezone.now()).update(due_at=timezone.now(), hinted_at=None)


def send_test(channel: str, *, by: str) -> None:
    """Send a word to a channel now, by the road of all messages.

    NotifyError says what came back when it did not take it; the URL, a secret, is not in that.
    """
    url = url_of(channel)
    if url is None:
        raise NotifyError("this channel is not in the settings", permanent=True)
    heard = apprise.LogCapture(level=logging.WARNING, fmt="%(message)s")  # type: ignore[no-untyped-call]
    with heard as warnings:
        try:
            _send(url, "A test from homelab", f"{by} wants to see that messages arrive here.", words=False)
        except NotifyError as error:
            said = " ".join(clean(warnings.getvalue()).split())
            raise NotifyError(f"{error}: {said}" if said else str(error)) from error
    events.record(None, Event.Kind.REQUESTED, by, f"sent a test message to {channel}")


def _send(url: str, title: str, body: str, *, words: bool) -> None:
    """Through Apprise, which escapes plain text for the channel. Its errors are a boolean.

    `words`: without anything that could be markup, for a channel that refused the whole.
    """
    sender = apprise.Apprise()
    if not sender.add(url):
        raise NotifyError("Apprise cannot read this URL of NOTIFY_URLS", permanent=True)
    for service in sender:
        if service.overflow_mode == apprise.OverflowMode.UPSTREAM:  # as it is unless the URL says otherwise
            service.overflow_mode = apprise.OverflowMode.TRUNCATE  # what is too long would never be taken
    title, body = inert(" ".join(title.split())), inert(body)
    if words:
        title, body = words_only(title), words_only(body)
    elif reads_markdown(url):
        title, body = as_markdown(title), as_markdown(body)
    if not sender.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
        raise NotifyError("the channel did not take the message")
