"""What an alert does to its episode and its incident. Decides in memory; `batch` reads and writes.

An *episode* is the open row for (source, fingerprint). Where an alert belongs is looked up in this order:
its open episode, then its group's open incident, then correlation by target; else a new incident opens.

A verdict does not end an episode: its sender may not have heard of it yet. What fires on after a verdict that
said it was over is *contested*, like what fires at or before its own end: somebody who knows is asked.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from django.conf import settings

from incidents import services
from incidents.alertmanager import Alert
from incidents.batch import Batch, Parcel, Raced
from incidents.models import Episode, Event, Incident, Verdict
from incidents.notifications import tell_opened
from incidents.severity import severity_class
from incidents.tally import one


def apply(batch: Batch) -> None:
    """Go through all alerts of a batch, in the order in which they came."""
    batch.load_known()
    batch.load_places(_may_open(batch))
    for parcel in batch.parcels:
        for alert in parcel.alerts:
            step = _fire if alert.firing else _resolve
            key = parcel.key(alert)
            last = batch.known.get(key)
            batch.known[key] = step(batch, parcel, alert, last)
            batch.counted.append(one("alerts", parcel.source, _outcome(alert, last, batch.known[key])))


def _outcome(alert: Alert, last: Episode | None, episode: Episode) -> str:
    """As metrics name it."""
    if not alert.firing:
        return "resolved"
    return "repeated" if episode is last else "opened"


def _may_open(batch: Batch) -> list[tuple[Parcel, Alert]]:
    """Alerts that begin an episode now, or after what the same batch says of them before."""
    every = [(parcel, alert) for parcel in batch.parcels for alert in parcel.alerts]
    times = Counter(parcel.key(alert) for parcel, alert in every)
    return [
        (parcel, alert)
        for parcel, alert in every
        if alert.firing
        and (times[parcel.key(alert)] > 1 or _opens(alert, batch.known.get(parcel.key(alert))))
    ]


def _opens(alert: Alert, last: Episode | None) -> bool:
    """Whether an alert that fires begins an episode."""
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


def _fire(batch: Batch, parcel: Parcel, alert: Alert, last: Episode | None) -> Episode:
    if _opens(alert, last):
        if last is not None:
            leave(batch, last, next_start=alert.starts_at)
        return _open_episode(batch, parcel, alert, last)
    assert last is not None
    if last.ends_at is not None or _said_to_be_over(last.incident):
        return _contest(batch, parcel, last)
    return _repeat(batch, parcel, alert, last)


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


def leave(batch: Batch, episode: Episode, *, next_start: datetime) -> None:
    """The alert's next episode takes its place, also where the older one was contested."""
    if episode.ends_at is None:
        closed = episode.incident.closed_at if episode.incident else None
        episode.ends_at = min(closed or next_start, next_start)
    episode.contested_at = None
    batch.change(episode)


def _repeat(batch: Batch, parcel: Parcel, alert: Alert, episode: Episode) -> Episode:
    labels, annotations = dict(alert.labels), dict(alert.annotations)
    same = (episode.labels, episode.annotations) == (labels, annotations)
    if not same or alert.starts_at < episode.starts_at:
        episode.starts_at = min(episode.starts_at, alert.starts_at)  # a merge keeps the earliest
        episode.labels, episode.annotations = labels, annotations
        batch.change(episode)
    episode.last_seen_at = batch.now
    if episode.pk is not None:
        batch.seen.add(episode.pk)
    parcel.touches(episode.incident)
    return episode


def _contest(batch: Batch, parcel: Parcel, episode: Episode) -> Episode:
    """Fired at or before its own end: out of order, or Alertmanager repeating itself after a gap.

    Or it fires on after a verdict: a relapse, or the sender has not heard of the end yet.
    """
    episode.last_seen_at = batch.now
    if episode.contested_at is None:
        episode.contested_at = batch.now
        end = "its end" if episode.ends_at is not None else "the verdict"
        text = f"{episode.title} fires again with a start at or before {end}; asking if it is active"
        batch.event(episode.incident, Event.Kind.CONTESTED, parcel.source, text)
        batch.contested.append(episode)
    batch.change(episode)
    parcel.touches(episode.incident)
    return episode


def _resolve(batch: Batch, parcel: Parcel, alert: Alert, last: Episode | None) -> Episode:
    if last is None:
        last = new_episode(batch, parcel, alert)  # a tombstone: its firing may still come
        batch.created.append(last)
        return last
    assert alert.ends_at is not None
    if last.ends_at is None:
        if alert.ends_at > last.starts_at:
            last.ends_at, last.contested_at = alert.ends_at, None
            batch.change(last)
            if last.incident is not None:
                batch.resolve(parcel, last.incident)
    elif alert.ends_at >= last.ends_at:
        last.ends_at, last.contested_at = alert.ends_at, None
        batch.change(last)
    parcel.touches(last.incident)
    return last


def new_episode(batch: Batch, parcel: Parcel, alert: Alert) -> Episode:
    return Episode(
        source=parcel.source,
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


def as_alert(episode: Episode, *, ends_at: datetime | None = None) -> Alert:
    """An episode as its sender would say it: that it fires, or that it has ended."""
    return Alert(
        fingerprint=episode.fingerprint,
        firing=ends_at is None,
        labels=episode.labels,
        annotations=episode.annotations,
        starts_at=episode.starts_at,
        ends_at=ends_at,
        generator_url=episode.generator_url,
        condition=episode.condition,
    )


def _open_episode(batch: Batch, parcel: Parcel, alert: Alert, last: Episode | None) -> Episode:
    episode = new_episode(batch, parcel, alert)
    episode.target = batch.targets.get(parcel.key(alert))
    batch.created.append(episode)
    if not alert.is_watchdog:
        place(batch, parcel, alert, episode, last.incident if last else None)
    return episode


def place(batch: Batch, parcel: Parcel, alert: Alert, episode: Episode, previous: Incident | None) -> None:
    """Give an episode its incident."""
    incident = _open_incident_for(batch, parcel, episode, previous)
    if incident is not None:
        batch.join(parcel, incident, alert)
    elif previous is not None and _reopen(batch, parcel, alert, previous):
        incident = previous
    else:
        incident = _open_incident(batch, parcel, alert, episode, previous)
    if episode.target_id is not None:
        batch.by_target.setdefault(episode.target_id, incident)
    episode.incident = incident
    batch.map_group(parcel, incident)
    parcel.touches(incident)


def _open_incident_for(
    batch: Batch, parcel: Parcel, episode: Episode, previous: Incident | None
) -> Incident | None:
    """The open incident that an alert belongs to, in the order of the module's docstring."""
    if previous is not None and previous.status != Incident.Status.CLOSED:
        return previous
    group = batch.groups.get(parcel.group) if parcel.group_key else None
    if group is not None and group.incident is not None:
        return group.incident
    target = episode.target
    if target is None:
        return None
    found = batch.by_target.get(target.pk)
    return found or (batch.by_target.get(target.parent_id) if target.parent_id else None)


def _reopen(batch: Batch, parcel: Parcel, alert: Alert, incident: Incident) -> bool:
    """Work on a closed incident again; False when this is too late, or a person gave it its verdict."""
    if not _within_flap_window(incident, batch.now) or services.judged_by_person(incident):
        return False
    ago = (batch.now - (incident.closed_at or batch.now)).total_seconds()
    text = f"{alert.title} fired again {ago:.0f} s after the end"
    if not services.reopen(incident, actor=parcel.source, text=text):
        raise Raced(f"#{incident.pk}")
    tell_opened(incident)
    return True


def _within_flap_window(incident: Incident, now: datetime) -> bool:
    ended = incident.closed_at or now
    return now - ended <= timedelta(seconds=settings.FLAP_WINDOW_SECONDS)


def _open_incident(
    batch: Batch, parcel: Parcel, alert: Alert, episode: Episode, previous: Incident | None
) -> Incident:
    description = alert.description
    incident = Incident(
        source=parcel.source,
        alert_name=alert.title,
        description=description,
        severity=alert.severity,
        severity_class=severity_class(alert.severity),
        target=episode.target,
        previous=previous,
        adopted=parcel.quiet,
        started_at=alert.starts_at,
        opened_at=batch.now,
        request_id=parcel.origin.request_id,
        traceparent=parcel.origin.traceparent,
    )
    batch.event(incident, Event.Kind.OPENED, parcel.source, description, labels=dict(alert.labels))
    batch.open(incident, quiet=parcel.quiet)
    return incident
