"""What a delivery needs to know and what it will write: a few queries for any number of alerts.

Rows are changed in memory while the alerts are gone through, and written at the end by `flush`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from django.db.models import F, Max

from incidents import inventory, services, signals
from incidents.alertmanager import Alert
from incidents.models import Episode, Event, GroupKey, Incident, Target
from incidents.severity import severity_class, worst

CHANGEABLE = (
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
    known: dict[str, Episode] = field(default_factory=dict)
    targets: dict[str, Target | None] = field(default_factory=dict)
    by_target: dict[int, Incident] = field(default_factory=dict)
    of_group: Incident | None = None
    created: list[Episode] = field(default_factory=list)
    changed: dict[int, Episode] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    joined: dict[int, list[Incident]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    contested: list[Episode] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    resolved: set[int] = field(default_factory=set)
    _open_key: GroupKey | None = None

    def load_known(self, alerts: Sequence[Alert]) -> None:
        """The latest episode of each alert."""
        mine = Episode.objects.filter(
            source=self.source, fingerprint__in={alert.fingerprint for alert in alerts}
        )
        last = mine.order_by().values("fingerprint").annotate(last=Max("id")).values("last")
        rows = Episode.objects.filter(pk__in=last).select_related("incident")
        self.known = {row.fingerprint: row for row in rows}

    def load_places(self, opening: Sequence[Alert]) -> None:
        """Where alerts that open an episode could belong: their targets, and the open incidents there."""
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
            self.of_group = self._open_key.incident

    def _load_target_incidents(self) -> None:
        bound = {target.pk: target for target in self.targets.values() if target is not None}
        if not bound:
            return
        # The lock keeps two deliveries about one target from opening two incidents (PostgreSQL; SQLite has
        # one writer anyway). In one order, so that two of them cannot wait for each other.
        list(Target.objects.select_for_update().filter(pk__in=bound).order_by("pk").values_list("pk"))
        related = {key for target in bound.values() for key in (target.pk, target.parent_id) if key}
        rows = Incident.objects.unresolved().filter(target_id__in=related).order_by("-id")
        self.by_target = {row.target_id: row for row in rows if row.target_id is not None}

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
        incident.severity = worst(incident.severity, alert.severity)
        incident.severity_class = severity_class(incident.severity)
        incident.started_at = min(incident.started_at, alert.starts_at)
        self.joined.setdefault(incident.pk, []).append(incident)
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
        Episode.objects.bulk_create(self.created)
        Episode.objects.bulk_update(self.changed.values(), CHANGEABLE, batch_size=100)
        if unchanged := self.seen - self.changed.keys():
            Episode.objects.filter(pk__in=unchanged).update(last_seen_at=self.now)
        for pk, rows in self.joined.items():
            self._write_joins(pk, rows)
        Event.objects.bulk_create(self.events)
        for episode in self.contested:
            signals.episode_contested.send(Episode, episode_id=episode.pk)
        # Locked, so that of two deliveries which each end one of the last alerts, the later one sees both.
        ended = Incident.objects.select_for_update().filter(pk__in=self.resolved).order_by("pk")
        for incident in ended if self.resolved else ():
            services.end_when_all_resolved(incident, actor=self.source)

    def _write_joins(self, pk: int, rows: list[Incident]) -> None:
        last = rows[-1]
        still_open = Incident.objects.unresolved().filter(pk=pk)
        written = still_open.update(
            severity=last.severity,
            severity_class=last.severity_class,
            started_at=last.started_at,
            ended_at=None,
            joins=F("joins") + len(rows),
        )
        if not written:
            raise Raced(f"#{pk}")
