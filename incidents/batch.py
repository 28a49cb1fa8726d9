"""What a delivery needs to know and what it will write: a few queries for any number of alerts.

Rows are changed in memory while the alerts are gone through, and written at the end by `flush`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from django.db.models import F, Max, QuerySet

from incidents import inventory, services, signals
from incidents.alertmanager import Alert
from incidents.models import Episode, Event, GroupKey, Incident, Target
from incidents.severity import severity_class, worst

CHANGEABLE = (
    "source",
    "starts_at",
    "ends_at",
    "contested_at",
    "last_seen_at",
    "labels",
    "annotations",
    "incident",
    "target",
)


class Raced(Exception):
    """An incident was closed by somebody else while an alert was joining it; look again."""


@dataclass
class Batch:
    """Alerts of one sender that arrived together."""

    source: str
    group_key: str
    now: datetime
    quiet: bool = False  # adopt what fires already: no message each, no proposals
    beside: int | None = None  # an incident of other alerts of the group, which their sender did not name
    known: dict[str, Episode] = field(default_factory=dict)
    targets: dict[str, Target | None] = field(default_factory=dict)
    by_target: dict[int, Incident] = field(default_factory=dict)
    of_group: Incident | None = None
    created: list[Episode] = field(default_factory=list)
    changed: dict[int, Episode] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    joined: dict[int, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    contested: list[Episode] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    resolved: set[int] = field(default_factory=set)
    _open_key: GroupKey | None = None
    _incidents: dict[int, Incident] = field(default_factory=dict)

    def load_known(self, alerts: Sequence[Alert]) -> None:
        """The latest episode of each alert, locked: `flush` writes back what is read here."""
        fingerprints = {alert.fingerprint for alert in alerts}
        mine = Episode.objects.filter(source=self.source, fingerprint__in=fingerprints)
        last = mine.order_by().values("fingerprint").annotate(last=Max("id")).values("last")
        self.known = {row.fingerprint: row for row in self.locked(Episode.objects.filter(pk__in=last))}
        firing = {alert.fingerprint for alert in alerts if alert.firing}
        closed = {each for each in firing if each not in self.known or self.known[each].ends_at is not None}
        self._take_over(closed)

    def _take_over(self, fingerprints: set[str]) -> None:
        """What the poll of Alertmanager's list opened is from now on of whoever delivers it."""
        if not fingerprints:
            return
        polled = Episode.objects.firing().filter(polled=True, fingerprint__in=fingerprints)
        for row in self.locked(polled.exclude(source=self.source)):
            row.source = self.source
            self.known[row.fingerprint] = row
            self.change(row)

    def locked(self, rows: QuerySet[Episode]) -> list[Episode]:
        """In one order, so that two deliveries cannot wait for each other (SQLite has one writer anyway)."""
        found = list(rows.select_related("incident").select_for_update(of=("self",)).order_by("pk"))
        for row in found:
            if row.incident is not None:
                row.incident = self._one(row.incident)
        return found

    def _one(self, incident: Incident) -> Incident:
        """One object for each incident, for alerts change it one after the other."""
        return self._incidents.setdefault(incident.pk, incident)

    def load_places(self, opening: Sequence[Alert]) -> None:
        """Where alerts that may open an episode could belong: their targets, and the open incidents there."""
        if not opening:
            return
        bindings = inventory.bind_many([alert.labels for alert in opening])
        self.targets = {
            alert.fingerprint: binding.target for alert, binding in zip(opening, bindings, strict=True)
        }
        self._load_group()
        self._load_target_incidents()

    def _load_group(self) -> None:
        if not self.group_key:
            return
        keys = GroupKey.objects.filter(source=self.source, digest=self._digest, ended_at=None)
        self._open_key = keys.select_related("incident__target").first()
        if self._open_key is not None and self._open_key.incident.status != Incident.Status.CLOSED:
            self.of_group = self._one(self._open_key.incident)
        else:
            self.of_group = self._incident_of_members()

    def _incident_of_members(self) -> Incident | None:
        """Where other alerts of the group are already: brought by the poll, or under another group key."""
        firing = [row.incident for row in self.known.values() if row.ends_at is None]
        found = [each for each in firing if each and each.status != Incident.Status.CLOSED]
        if not found and self.beside is not None:
            found = [self._one(each) for each in Incident.objects.unresolved().filter(pk=self.beside)]
        return min(found, key=lambda each: each.pk, default=None)

    def _load_target_incidents(self) -> None:
        bound = {target.pk: target for target in self.targets.values() if target is not None}
        if not bound:
            return
        # The lock keeps two deliveries about one target from opening two incidents (PostgreSQL; SQLite has
        # one writer anyway). In one order, so that two of them cannot wait for each other.
        list(Target.objects.select_for_update().filter(pk__in=bound).order_by("pk").values_list("pk"))
        related = {key for target in bound.values() for key in (target.pk, target.parent_id) if key}
        rows = Incident.objects.unresolved().filter(target_id__in=related).order_by("-id")
        self.by_target = {row.target_id: self._one(row) for row in rows if row.target_id is not None}

    @property
    def _digest(self) -> str:
        return sha256(self.group_key.encode()).hexdigest()

    def event(self, incident: Incident | None, kind: Event.Kind, text: str, **data: object) -> None:
        self.events.append(
            Event(incident=incident, at=self.now, kind=kind, actor=self.source, text=text, data=data)
        )

    def change(self, episode: Episode) -> None:
        """Remember to write an episode; one that is new will be written anyway."""
        if episode.pk is not None:
            self.changed[episode.pk] = episode

    def join(self, incident: Incident, alert: Alert) -> None:
        """An alert comes to an incident that is open: the graver severity and the earlier start count."""
        if not self.quiet:
            incident.adopted = False  # it is no longer what fired before we first looked
        incident.severity = worst(incident.severity, alert.severity)
        incident.severity_class = severity_class(incident.severity)
        incident.started_at = min(incident.started_at, alert.starts_at)
        self._one(incident)
        self.joined[incident.pk] = self.joined.get(incident.pk, 0) + 1
        text = f"{alert.name} joined: {alert.description}"
        self.event(incident, Event.Kind.JOINED, text, labels=dict(alert.labels))

    def map_group(self, incident: Incident) -> None:
        """From now on the group's alerts belong to this incident."""
        if not self.group_key or (self._open_key and self._open_key.incident_id == incident.pk):
            return
        if self._open_key is not None:
            GroupKey.objects.filter(pk=self._open_key.pk).update(ended_at=self.now)
        self._open_key = GroupKey.objects.create(
            source=self.source, digest=self._digest, group_key=self.group_key, incident=incident
        )
        self.of_group = incident

    def flush(self) -> None:
        # Ends first: the database allows one open episode per alert.
        Episode.objects.bulk_update(self.changed.values(), CHANGEABLE, batch_size=100)
        Episode.objects.bulk_create(self.created)
        if unchanged := self.seen - self.changed.keys():
            Episode.objects.filter(pk__in=unchanged).update(last_seen_at=self.now)
        for pk, count in sorted(self.joined.items()):
            self._write_joins(self._incidents[pk], count)
        Event.objects.bulk_create(self.events)
        for episode in self.contested:
            signals.episode_contested.send(Episode, episode_id=episode.pk)
        # Locked, so that of two deliveries which each end one of the last alerts, the later one sees both.
        ended = Incident.objects.select_for_update().filter(pk__in=self.resolved).order_by("pk")
        for incident in ended if self.resolved else ():
            services.end_when_all_resolved(incident, actor=self.source)

    def _write_joins(self, incident: Incident, count: int) -> None:
        still_open = Incident.objects.unresolved().filter(pk=incident.pk)
        written = still_open.update(
            severity=incident.severity,
            severity_class=incident.severity_class,
            started_at=incident.started_at,
            adopted=incident.adopted,
            ended_at=None,
            joins=F("joins") + count,
        )
        if not written:
            raise Raced(f"#{incident.pk}")
