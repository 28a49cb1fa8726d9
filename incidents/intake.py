"""From alerts to episodes to incidents, in one transaction per delivery.

An *episode* is the open row for (source, fingerprint). Where an alert belongs is looked up in this order:
its open episode, then its group's open incident, then correlation by target; else a new incident opens.

A verdict does not end an episode: its sender may not have heard of it yet. What fires on after a verdict that
said it was over is *contested*, like what fires at or before its own end: somebody who knows is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from incidents import services, signals
from incidents.alertmanager import Alert, Webhook
from incidents.batch import Batch, Raced
from incidents.models import Delivery, Episode, Event, GroupKey, Incident, Verdict
from incidents.notifications import opened_transition, tell_opened
from incidents.severity import severity_class

RACES = 5


@dataclass(frozen=True)
class Receipt:
    """What became of a delivery; incident ids ascending, without repeats."""

    delivery_id: int
    accepted: int
    quarantined: int
    incidents: list[int]


def receive(*, source: str, body: bytes, webhook: Webhook) -> Receipt:
    """Store a delivery and what it means. When it returns, it is committed."""
    for attempt in range(RACES):
        try:
            return _receive(source, body, webhook)
        except (IntegrityError, Raced):
            # Two senders delivered the same new alert at once, or its incident was closed; look again.
            if attempt == RACES - 1:
                raise
    raise AssertionError("unreachable")


@transaction.atomic
def _receive(source: str, body: bytes, webhook: Webhook) -> Receipt:
    delivery = Delivery.objects.create(
        source=source, body=body, alerts=len(webhook.alerts), quarantined=list(webhook.quarantined)
    )
    incidents = apply_alerts(source=source, alerts=webhook.alerts, group_key=webhook.group_key)
    return Receipt(delivery.pk, len(webhook.alerts), len(webhook.quarantined), incidents)


@transaction.atomic(savepoint=False)
def apply_alerts(
    *,
    source: str,
    alerts: Sequence[Alert],
    group_key: str = "",
    quiet: bool = False,
    beside: int | None = None,
) -> list[int]:
    """Upsert the episodes of alerts and open, join or end their incidents; their ids.

    `beside`: an incident that has other alerts of the same group.
    """
    if not alerts:
        return []
    batch = Batch(source=source, group_key=group_key, now=timezone.now(), quiet=quiet, beside=beside)
    batch.load_known(alerts)
    batch.load_places(_may_open(batch, alerts))
    for alert in alerts:
        step = _fire if alert.firing else _resolve
        batch.known[alert.fingerprint] = step(batch, alert, batch.known.get(alert.fingerprint))
    batch.flush()
    return sorted(batch.touched | batch.resolved)


def _may_open(batch: Batch, alerts: Sequence[Alert]) -> list[Alert]:
    """Alerts that begin an episode now, or after what the same delivery says of them before."""
    times = Counter(alert.fingerprint for alert in alerts)
    return [
        alert
        for alert in alerts
        if alert.firing
        and (times[alert.fingerprint] > 1 or _opens(alert, batch.known.get(alert.fingerprint)))
    ]


def _opens(alert: Alert, last: Episode | None) -> bool:
    """Whether an alert begins an episode."""
    if not alert.firing:
        return False
    if last is None:
        return True
    if last.ends_at is None:
        return _fired_anew(last, alert)
    return alert.starts_at > last.ends_at


def _fired_anew(last: Episode, alert: Alert) -> bool:
    """The alert began again before its incident had its verdict or after it; its resolve was never sent.

    Not compared with the moment of the verdict: that is of our clock, and the start is of another one. What
    we find ourselves (it has a condition) starts when we look, so its start says nothing.
    """
    return _closed(last.incident) and alert.starts_at > last.starts_at and alert.condition is None


def _closed(incident: Incident | None) -> bool:
    return incident is not None and incident.status == Incident.Status.CLOSED


def _fire(batch: Batch, alert: Alert, last: Episode | None) -> Episode:
    if _opens(alert, last):
        if last is not None:
            _leave(batch, last, next_start=alert.starts_at)
        return _open_episode(batch, alert, last)
    assert last is not None
    if last.ends_at is not None or _said_to_be_over(last.incident):
        return _contest(batch, last)
    return _repeat(batch, alert, last)


def _said_to_be_over(incident: Incident | None) -> bool:
    """Whether a verdict says that the alert no longer fires.

    The others do not, so they are not contested by a sender that repeats itself; nor is what a person called
    a false alarm, for it is expected to go on.
    """
    if incident is None or not _closed(incident):
        return False
    if incident.verdict == Verdict.FALSE_ALARM:
        return not services.judged_by_person(incident)
    return incident.verdict in (*services.PROVED, Verdict.RESOLVED_BY_HUMAN)


def _leave(batch: Batch, episode: Episode, *, next_start: datetime) -> None:
    """The alert's next episode takes its place, also where the older one was contested."""
    if episode.ends_at is None:
        closed = episode.incident.closed_at if episode.incident else None
        episode.ends_at = min(closed or next_start, next_start)
    episode.contested_at = None
    batch.change(episode)


def _repeat(batch: Batch, alert: Alert, episode: Episode) -> Episode:
    labels, annotations = dict(alert.labels), dict(alert.annotations)
    same = (episode.labels, episode.annotations) == (labels, annotations)
    if not same or alert.starts_at < episode.starts_at:
        episode.starts_at = min(episode.starts_at, alert.starts_at)  # a merge keeps the earliest
        episode.labels, episode.annotations = labels, annotations
        batch.change(episode)
    episode.last_seen_at = batch.now
    if episode.pk is not None:
        batch.seen.add(episode.pk)
    if episode.incident_id:
        batch.touched.add(episode.incident_id)
    return episode


def _contest(batch: Batch, episode: Episode) -> Episode:
    """Fired at or before its own end: out of order, or Alertmanager repeating itself after a gap.

    Or it fires on after a verdict: a relapse, or the sender has not heard of the end yet.
    """
    episode.last_seen_at = batch.now
    if episode.contested_at is None:
        episode.contested_at = batch.now
        end = "its end" if episode.ends_at is not None else "the verdict"
        text = f"{episode.alert_name} fires again with a start at or before {end}; asking if it is active"
        batch.event(episode.incident, Event.Kind.CONTESTED, text)
        batch.contested.append(episode)
    batch.change(episode)
    if episode.incident_id:
        batch.touched.add(episode.incident_id)
    return episode


def _resolve(batch: Batch, alert: Alert, last: Episode | None) -> Episode:
    if last is None:
        last = _new_episode(batch, alert)  # a tombstone: its firing may still come
        batch.created.append(last)
        return last
    assert alert.ends_at is not None
    if last.ends_at is None:
        if alert.ends_at > last.starts_at:
            last.ends_at, last.contested_at = alert.ends_at, None
            batch.change(last)
            if last.incident_id:
                batch.resolved.add(last.incident_id)
    elif alert.ends_at >= last.ends_at:
        last.ends_at, last.contested_at = alert.ends_at, None
        batch.change(last)
    if last.incident_id:
        batch.touched.add(last.incident_id)
    return last


def _new_episode(batch: Batch, alert: Alert) -> Episode:
    return Episode(
        source=batch.source,
        fingerprint=alert.fingerprint,
        alert_name=alert.name,
        severity=alert.severity,
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        generator_url=alert.generator_url,
        condition=dict(alert.condition) if alert.condition is not None else None,
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        first_seen_at=batch.now,
        last_seen_at=batch.now,
    )


def _open_episode(batch: Batch, alert: Alert, last: Episode | None) -> Episode:
    episode = _new_episode(batch, alert)
    episode.target = batch.targets.get(alert.fingerprint)
    batch.created.append(episode)
    if not alert.is_watchdog:
        _place(batch, alert, episode, last.incident if last else None)
    return episode


def _place(batch: Batch, alert: Alert, episode: Episode, previous: Incident | None) -> None:
    """Give an episode its incident."""
    incident = _open_incident_for(batch, episode, previous)
    if incident is not None:
        _join(batch, alert, incident)
    elif previous is not None and _reopen(batch, alert, previous):
        incident = previous
    else:
        incident = _open_incident(batch, alert, episode, previous)
    if episode.target_id is not None:
        batch.by_target.setdefault(episode.target_id, incident)
    episode.incident = incident
    batch.map_group(incident)
    batch.touched.add(incident.pk)


def _open_incident_for(batch: Batch, episode: Episode, previous: Incident | None) -> Incident | None:
    """The open incident that an alert belongs to, in the order of the module's docstring."""
    if previous is not None and previous.status != Incident.Status.CLOSED:
        return previous
    if batch.of_group is not None:
        return batch.of_group
    target = episode.target
    if target is None:
        return None
    found = batch.by_target.get(target.pk)
    return found or (batch.by_target.get(target.parent_id) if target.parent_id else None)


def _join(batch: Batch, alert: Alert, incident: Incident) -> None:
    """To an open incident. People are told when it becomes critical, or when nobody told them of it yet."""
    before, adopted = incident.severity_class, incident.adopted
    batch.join(incident, alert)
    if batch.quiet:
        return
    if adopted:
        tell_opened(incident)
    elif incident.severity_class != before:
        tell_opened(incident, transition=f"{opened_transition(incident)}:rose")


def _reopen(batch: Batch, alert: Alert, incident: Incident) -> bool:
    """Work on a closed incident again; False when this is too late, or a person gave it its verdict."""
    if not _within_flap_window(incident, batch.now) or services.judged_by_person(incident):
        return False
    ago = (batch.now - (incident.closed_at or batch.now)).total_seconds()
    text = f"{alert.name} fired again {ago:.0f} s after the end"
    if not services.reopen(incident, actor=batch.source, text=text):
        raise Raced(f"#{incident.pk}")
    tell_opened(incident)
    return True


def _within_flap_window(incident: Incident, now: datetime) -> bool:
    ended = incident.closed_at or now
    return now - ended <= timedelta(seconds=settings.FLAP_WINDOW_SECONDS)


def _open_incident(batch: Batch, alert: Alert, episode: Episode, previous: Incident | None) -> Incident:
    incident = Incident.objects.create(
        source=batch.source,
        alert_name=alert.name,
        description=alert.description,
        severity=alert.severity,
        severity_class=severity_class(alert.severity),
        target=episode.target,
        previous=previous,
        adopted=batch.quiet,
        started_at=alert.starts_at,
        opened_at=batch.now,
    )
    batch.event(incident, Event.Kind.OPENED, alert.description, labels=dict(alert.labels))
    if not batch.quiet:
        tell_opened(incident)
    signals.incident_opened.send(Incident, incident_id=incident.pk)
    return incident


@transaction.atomic
def settle_contested(episode: Episode, *, active: bool, how: str) -> None:
    """Decide a contested episode: reopen it and its incident, or leave it ended."""
    # As it is now: while somebody was asked, its incident may have got its verdict, or it a successor.
    key = _last_group_key(episode.incident)
    batch = Batch(source=episode.source, group_key=key, now=timezone.now())
    found = next(iter(batch.locked(Episode.objects.contested().filter(pk=episode.pk))), None)
    if found is None:
        return
    later = Episode.objects.filter(source=found.source, fingerprint=found.fingerprint, pk__gt=found.pk)
    active = active and not later.exists()
    said = "is active" if active else "is not active"
    batch.event(found.incident, Event.Kind.CONTESTED, f"{found.alert_name} {said}: {how}")
    found.contested_at = None
    batch.change(found)
    if active:
        _revive(batch, found)
    batch.flush()


def _last_group_key(incident: Incident | None) -> str:
    """So that of a group of contested alerts, the first opens an incident and the others join it."""
    keys = GroupKey.objects.filter(incident=incident).order_by("-id") if incident else GroupKey.objects.none()
    last = keys.first()
    return last.group_key if last else ""


def _revive(batch: Batch, old: Episode) -> None:
    """A contested alert is active: the episode goes on, or a new one in another incident."""
    alert, previous = _as_alert(old), old.incident
    batch.load_places([alert])
    new = _new_episode(batch, alert)
    new.target = old.target or batch.targets.get(old.fingerprint)
    if not alert.is_watchdog:
        _place(batch, alert, new, previous)
    if previous is None or new.incident == previous:
        old.ends_at, old.incident, old.target = None, new.incident, new.target
        return
    _leave(batch, old, next_start=batch.now)  # what a closed incident had stays with it
    batch.created.append(new)


def _as_alert(episode: Episode) -> Alert:
    return Alert(
        fingerprint=episode.fingerprint,
        firing=True,
        labels=episode.labels,
        annotations=episode.annotations,
        starts_at=episode.starts_at,
        ends_at=None,
        generator_url=episode.generator_url,
        condition=episode.condition,
    )
