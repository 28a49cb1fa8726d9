"""From alerts to episodes to incidents, in one transaction per delivery.

An *episode* is the open row for (source, fingerprint). Where an alert belongs is looked up in this order:
its open episode, then its group's open incident, then correlation by target; else a new incident opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from incidents import inventory, services, signals
from incidents.alertmanager import Alert, Webhook
from incidents.models import Delivery, Episode, Event, GroupKey, Incident, Target
from incidents.notifications import tell_opened
from incidents.severity import severity_class, worst

RACES = 5


@dataclass(frozen=True)
class Receipt:
    """What became of a delivery; incident ids ascending, without repeats."""

    delivery_id: int
    accepted: int
    quarantined: int
    incidents: list[int]


@dataclass
class Batch:
    """Alerts of one sender that arrived together, and the incidents they touched."""

    source: str
    group_key: str
    now: datetime
    quiet: bool = False  # adopt what fires already: no message each, no proposals
    touched: set[int] = field(default_factory=set)
    resolved: set[int] = field(default_factory=set)


def receive(*, source: str, body: bytes, webhook: Webhook) -> Receipt:
    """Store a delivery and what it means. When it returns, it is committed."""
    for attempt in range(RACES):
        try:
            return _receive(source, body, webhook)
        except IntegrityError:
            # Two senders delivered the same new alert at once; the other one won, so look again.
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


@transaction.atomic
def apply_alerts(
    *, source: str, alerts: Sequence[Alert], group_key: str = "", quiet: bool = False
) -> list[int]:
    """Upsert the episodes of alerts and open, join or end their incidents; their ids."""
    batch = Batch(source=source, group_key=group_key, now=timezone.now(), quiet=quiet)
    known = _latest_episodes(source, [alert.fingerprint for alert in alerts])
    for alert in alerts:
        step = _fire if alert.firing else _resolve
        known[alert.fingerprint] = step(batch, alert, known.get(alert.fingerprint))
    for incident in Incident.objects.filter(pk__in=batch.resolved):
        services.end_when_all_resolved(incident, actor=source)
    return sorted(batch.touched | batch.resolved)


def _latest_episodes(source: str, fingerprints: list[str]) -> dict[str, Episode]:
    mine = Episode.objects.filter(source=source, fingerprint__in=fingerprints)
    last = mine.order_by().values("fingerprint").annotate(last=Max("id")).values_list("last", flat=True)
    rows = Episode.objects.filter(pk__in=list(last)).select_related("incident")
    return {row.fingerprint: row for row in rows}


def _fire(batch: Batch, alert: Alert, last: Episode | None) -> Episode:
    if last is None:
        return _open_episode(batch, alert, None)
    if last.ends_at is None:
        if _fired_anew(last, alert):
            _end_episode(last, last.incident.closed_at if last.incident else batch.now)
            return _open_episode(batch, alert, last)
        return _repeat(batch, alert, last)
    if alert.starts_at > last.ends_at:
        return _open_episode(batch, alert, last)
    return _contest(batch, alert, last)


def _fired_anew(last: Episode, alert: Alert) -> bool:
    """The alert began after its incident had its verdict; its resolve in between was never sent."""
    closed = last.incident.closed_at if last.incident else None
    return closed is not None and alert.starts_at > closed


def _repeat(batch: Batch, alert: Alert, episode: Episode) -> Episode:
    episode.starts_at = min(episode.starts_at, alert.starts_at)  # a merge in Alertmanager keeps the earliest
    episode.last_seen_at = batch.now
    episode.labels, episode.annotations = dict(alert.labels), dict(alert.annotations)
    episode.save(update_fields=["starts_at", "last_seen_at", "labels", "annotations"])
    if episode.incident_id:
        batch.touched.add(episode.incident_id)
    return episode


def _contest(batch: Batch, alert: Alert, episode: Episode) -> Episode:
    """Fired at or before its own end: out of order, or Alertmanager repeating itself after a gap."""
    episode.last_seen_at = batch.now
    first = episode.contested_at is None
    if first:
        episode.contested_at = batch.now
        text = f"{alert.name} fires again with a start at or before its end; asking whether it is active"
        services.record(episode.incident, Event.Kind.CONTESTED, batch.source, text)
        signals.episode_contested.send(Episode, episode_id=episode.pk)
    episode.save(update_fields=["last_seen_at", "contested_at"])
    if episode.incident_id:
        batch.touched.add(episode.incident_id)
    return episode


def _resolve(batch: Batch, alert: Alert, last: Episode | None) -> Episode:
    if last is None:
        return _create_episode(batch, alert, target=None)  # a tombstone: its firing may still come
    assert alert.ends_at is not None
    if last.ends_at is None:
        if alert.ends_at > last.starts_at:
            _end_episode(last, alert.ends_at)
            if last.incident_id:
                batch.resolved.add(last.incident_id)
    elif alert.ends_at >= last.ends_at:
        Episode.objects.filter(pk=last.pk).update(ends_at=alert.ends_at, contested_at=None)
        last.ends_at, last.contested_at = alert.ends_at, None
    if last.incident_id:
        batch.touched.add(last.incident_id)
    return last


def _end_episode(episode: Episode, at: datetime | None) -> None:
    episode.ends_at = at or timezone.now()
    episode.save(update_fields=["ends_at"])


def _open_episode(batch: Batch, alert: Alert, last: Episode | None) -> Episode:
    binding = inventory.bind(alert.labels)
    episode = _create_episode(batch, alert, target=binding.target)
    if not alert.is_watchdog:
        _place(batch, alert, episode, last)
    return episode


def _create_episode(batch: Batch, alert: Alert, *, target: Target | None) -> Episode:
    return Episode.objects.create(
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
        target=target,
    )


def _place(batch: Batch, alert: Alert, episode: Episode, last: Episode | None) -> None:
    """Give an episode its incident."""
    previous = last.incident if last else None
    incident = _open_incident_for(batch, episode, previous)
    if incident is None and previous is not None and _within_flap_window(previous, batch.now):
        text = f"{alert.name} fired again {_ago(previous, batch.now)} after the end"
        incident = previous if services.reopen(previous, actor=batch.source, text=text) else None
    if incident is None:
        incident = _open_incident(batch, alert, episode, previous)
    elif incident.pk != (previous.pk if previous else None):
        _join(batch, alert, incident)
    Episode.objects.filter(pk=episode.pk).update(incident=incident)
    episode.incident = incident
    _map_group(batch, incident)
    batch.touched.add(incident.pk)


def _open_incident_for(batch: Batch, episode: Episode, previous: Incident | None) -> Incident | None:
    """The open incident that an alert belongs to, in the order of the module's docstring."""
    if previous is not None and previous.status != Incident.Status.CLOSED:
        return previous
    open_incidents = Incident.objects.unresolved()
    if batch.group_key:
        keys = GroupKey.objects.filter(source=batch.source, digest=_digest(batch.group_key), ended_at=None)
        found = open_incidents.filter(group_keys__in=keys).first()
        if found is not None:
            return found
    if episode.target_id is None:
        return None
    # The lock keeps two deliveries about one target from opening two incidents (PostgreSQL; SQLite has one
    # writer anyway).
    target = Target.objects.select_for_update().get(pk=episode.target_id)
    related = [key for key in (target.pk, target.parent_id) if key is not None]
    return open_incidents.filter(target_id__in=related).order_by("id").first()


def _within_flap_window(incident: Incident, now: datetime) -> bool:
    ended = incident.closed_at or now
    return now - ended <= timedelta(seconds=settings.FLAP_WINDOW_SECONDS)


def _ago(incident: Incident, now: datetime) -> str:
    return f"{(now - (incident.closed_at or now)).total_seconds():.0f} s"


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
    services.record(
        incident, Event.Kind.OPENED, batch.source, alert.description, {"labels": dict(alert.labels)}
    )
    if not batch.quiet:
        tell_opened(incident)
    signals.incident_opened.send(Incident, incident_id=incident.pk)
    return incident


def _join(batch: Batch, alert: Alert, incident: Incident) -> None:
    graver = worst(incident.severity, alert.severity)
    earlier = min(incident.started_at, alert.starts_at)
    Incident.objects.filter(pk=incident.pk).update(
        severity=graver, severity_class=severity_class(graver), started_at=earlier, ended_at=None
    )
    text = f"{alert.name} joined: {alert.description}"
    services.record(incident, Event.Kind.JOINED, batch.source, text, {"labels": dict(alert.labels)})


def _map_group(batch: Batch, incident: Incident) -> None:
    if not batch.group_key:
        return
    open_keys = GroupKey.objects.filter(source=batch.source, digest=_digest(batch.group_key), ended_at=None)
    if open_keys.filter(incident=incident).exists():
        return
    open_keys.update(ended_at=batch.now)
    GroupKey.objects.create(
        source=batch.source, digest=_digest(batch.group_key), group_key=batch.group_key, incident=incident
    )


def _digest(group_key: str) -> str:
    return sha256(group_key.encode()).hexdigest()


@transaction.atomic
def settle_contested(episode: Episode, *, active: bool, how: str) -> None:
    """Decide a contested episode: reopen it and its incident, or leave it ended."""
    won = Episode.objects.filter(pk=episode.pk, contested_at__isnull=False).update(contested_at=None)
    if not won:
        return
    incident = episode.incident
    if not active:
        services.record(
            incident, Event.Kind.CONTESTED, "intake", f"{episode.alert_name} is not active: {how}"
        )
        return
    batch = Batch(source=episode.source, group_key="", now=timezone.now())
    Episode.objects.filter(pk=episode.pk).update(ends_at=None)
    episode.ends_at = None
    alert = _as_alert(episode)
    services.record(incident, Event.Kind.CONTESTED, "intake", f"{episode.alert_name} is active: {how}")
    if incident is not None and incident.status != Incident.Status.CLOSED:
        Incident.objects.filter(pk=incident.pk).update(ended_at=None)
        return
    _place(batch, alert, episode, episode)


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
