"""From alerts to episodes to incidents, in one transaction per delivery.

An *episode* is the open row for (source, fingerprint). Where an alert belongs is looked up in this order:
its open episode, then its group's open incident, then correlation by target; else a new incident opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from incidents import services, signals
from incidents.alertmanager import Alert, Webhook
from incidents.batch import Batch, Raced
from incidents.models import Delivery, Episode, Event, Incident
from incidents.notifications import tell_opened
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
    *, source: str, alerts: Sequence[Alert], group_key: str = "", quiet: bool = False
) -> list[int]:
    """Upsert the episodes of alerts and open, join or end their incidents; their ids."""
    if not alerts:
        return []
    batch = Batch(source=source, group_key=group_key, now=timezone.now(), quiet=quiet)
    batch.load_known(alerts)
    batch.load_places([alert for alert in alerts if _opens(alert, batch.known.get(alert.fingerprint))])
    for alert in alerts:
        step = _fire if alert.firing else _resolve
        batch.known[alert.fingerprint] = step(batch, alert, batch.known.get(alert.fingerprint))
    batch.flush()
    return sorted(batch.touched | batch.resolved)


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
    """The alert began after its incident had its verdict; its resolve in between was never sent."""
    closed = last.incident.closed_at if last.incident else None
    return closed is not None and alert.starts_at > closed


def _fire(batch: Batch, alert: Alert, last: Episode | None) -> Episode:
    if _opens(alert, last):
        if last is not None and last.ends_at is None:
            last.ends_at = last.incident.closed_at if last.incident else batch.now
            _write_end(last)
        return _open_episode(batch, alert, last)
    assert last is not None
    return _repeat(batch, alert, last) if last.ends_at is None else _contest(batch, last)


def _write_end(episode: Episode) -> None:
    """At once: the database allows one open episode per alert, and the next one is about to be written."""
    Episode.objects.filter(pk=episode.pk).update(ends_at=episode.ends_at)


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
    """Fired at or before its own end: out of order, or Alertmanager repeating itself after a gap."""
    episode.last_seen_at = batch.now
    if episode.contested_at is None:
        episode.contested_at = batch.now
        text = f"{episode.alert_name} fires again with a start at or before its end; asking if it is active"
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
            last.ends_at = alert.ends_at
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
    if incident is None and previous is not None and _within_flap_window(previous, batch.now):
        ago = (batch.now - (previous.closed_at or batch.now)).total_seconds()
        text = f"{alert.name} fired again {ago:.0f} s after the end"
        incident = previous if services.reopen(previous, actor=batch.source, text=text) else None
    if incident is None:
        incident = _open_incident(batch, alert, episode, previous)
    else:
        batch.join(incident, alert)
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
    won = Episode.objects.filter(pk=episode.pk, contested_at__isnull=False).update(contested_at=None)
    if not won:
        return
    incident, name = episode.incident, episode.alert_name
    batch = Batch(source=episode.source, group_key="", now=timezone.now())
    said = "is active" if active else "is not active"
    batch.event(incident, Event.Kind.CONTESTED, f"{name} {said}: {how}")
    if active:
        episode.ends_at, episode.contested_at = None, None
        alert = _as_alert(episode)
        batch.load_places([alert])
        episode.target = episode.target or batch.targets.get(episode.fingerprint)
        _place(batch, alert, episode, incident)
        batch.change(episode)
    batch.flush()


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
