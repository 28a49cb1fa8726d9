"""What deliveries need to know and what they will write: a few queries for any number of alerts.

Rows are changed in memory while the alerts are gone through, and written at the end by `flush`. Two batches
at the same moment lock and insert in one order (episodes, targets, incidents, then new rows, each sorted), so
that they cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from django.db.models import QuerySet

from incidents import counts, inventory, notifications, services, signals, tally, tracing
from incidents.alertmanager import DEFAULT_SOURCE, Alert
from incidents.context import Origin
from incidents.models import Episode, Event, GroupKey, Incident, Target
from incidents.rawinsert import insert, insert_all
from incidents.rawsql import change, fetch
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
NAMED_JOINS = 5


LATEST = """
    id IN (SELECT MAX(id) FROM incidents_episode WHERE source = {} AND fingerprint {} GROUP BY fingerprint)
"""


class Raced(Exception):
    """An incident was closed by somebody else while an alert was joining it; look again."""


@dataclass(eq=False)
class Parcel:
    """Alerts of one sender that arrived together, and the incidents that they turned out to touch."""

    source: str
    alerts: Sequence[Alert]
    group_key: str = ""
    quiet: bool = False  # adopt what fires already: no message each, no proposals
    beside: int | None = None  # an incident of other alerts of the group, which their sender did not name
    origin: Origin = field(default_factory=tracing.origin)
    touched: dict[int, Incident] = field(default_factory=dict)

    def touches(self, incident: Incident | None) -> None:
        if incident is not None:
            self.touched[id(incident)] = incident

    @property
    def incidents(self) -> list[int]:
        """Primary keys, ascending; after the flush."""
        return sorted(incident.pk for incident in self.touched.values())

    @property
    def group(self) -> tuple[str, str]:
        return self.source, sha256(self.group_key.encode()).hexdigest()

    def key(self, alert: Alert) -> tuple[str, str]:
        return self.source, alert.fingerprint


@dataclass
class Group:
    """Which incident a group's next alert belongs to; `row` says so in the database."""

    row: GroupKey | None = None
    incident: Incident | None = None


@dataclass
class Joining:
    """Alerts that come to an incident that is open."""

    incident: Incident
    source: str
    quiet: bool
    alerts: list[Alert] = field(default_factory=list)


@dataclass
class Batch:
    """Parcels that are worked in one transaction. Keys of alerts and groups are with their source."""

    parcels: Sequence[Parcel]
    now: datetime
    known: dict[tuple[str, str], Episode] = field(default_factory=dict)
    targets: dict[tuple[str, str], Target | None] = field(default_factory=dict)
    by_target: dict[int, Incident] = field(default_factory=dict)
    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    created: list[Episode] = field(default_factory=list)
    changed: dict[int, Episode] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    opened: list[tuple[Incident, bool]] = field(default_factory=list)
    joined: dict[int, Joining] = field(default_factory=dict)
    group_rows: list[GroupKey] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    contested: list[Episode] = field(default_factory=list)
    resolved: dict[int, tuple[Incident, str]] = field(default_factory=dict)
    counted: list[tally.Change] = field(default_factory=list)
    _incidents: dict[int, Incident] = field(default_factory=dict)

    # --- what is known -------------------------------------------------------------------------

    def load_known(self) -> None:
        """The latest episode of each alert, locked: `flush` writes back what is read here."""
        wanted: dict[str, set[str]] = {}
        for parcel in self.parcels:
            wanted.setdefault(parcel.source, set()).update(alert.fingerprint for alert in parcel.alerts)
        for source, fingerprints in sorted(wanted.items()):
            latest = fetch(Episode, LATEST, source, sorted(fingerprints), lock=True)
            for row in self._with_incidents(latest):
                self.known[source, row.fingerprint] = row
        for parcel in self.parcels:
            if parcel.source != DEFAULT_SOURCE:
                self._take_over(parcel)

    def _take_over(self, parcel: Parcel) -> None:
        """What the poll of Alertmanager's list opened is from now on of whoever delivers it."""
        keys = {parcel.key(alert) for alert in parcel.alerts if alert.firing}
        closed = {key for key in keys if key not in self.known or self.known[key].ends_at is not None}
        if not closed:
            return
        polled = Episode.objects.firing().filter(polled=True, fingerprint__in=[key[1] for key in closed])
        for row in self.locked(polled.exclude(source=parcel.source)):
            row.source = parcel.source
            self.known[parcel.source, row.fingerprint] = row
            self.change(row)

    def locked(self, rows: QuerySet[Episode]) -> list[Episode]:
        """Episodes with their incidents, of which there is one object each: alerts change it in turn."""
        return self._with_incidents(list(rows.select_for_update().order_by("pk")))

    def _with_incidents(self, rows: list[Episode]) -> list[Episode]:
        self._load_incidents(row.incident_id for row in rows)
        for row in rows:
            row.incident = self._incidents[row.incident_id] if row.incident_id is not None else None
        return rows

    def _load_incidents(self, keys: Iterable[int | None]) -> None:
        new = {key for key in keys if key is not None} - self._incidents.keys()
        if new:
            self._incidents |= {row.pk: row for row in fetch(Incident, "id {}", sorted(new))}

    def _one(self, incident: Incident) -> Incident:
        return self._incidents.setdefault(incident.pk, incident)

    def load_places(self, opening: Sequence[tuple[Parcel, Alert]]) -> None:
        """Where alerts that may open an episode could belong: their targets, and the open incidents there."""
        if not opening:
            return
        bindings = inventory.bind_many([alert.labels for _parcel, alert in opening])
        for (parcel, alert), binding in zip(opening, bindings, strict=True):
            self.targets[parcel.key(alert)] = binding.target
        self._load_groups([parcel for parcel, _alert in opening if parcel.group_key])
        self._load_target_incidents()

    def _load_groups(self, parcels: Iterable[Parcel]) -> None:
        named = {parcel.group: parcel for parcel in parcels}
        if not named:
            return
        sources, digests = sorted({key[0] for key in named}), sorted({key[1] for key in named})
        rows = fetch(GroupKey, "source {} AND digest {} AND ended_at IS NULL", sources, digests)
        self._load_incidents(row.incident_id for row in rows)
        found = {(row.source, row.digest): row for row in rows}
        for key, parcel in named.items():
            row = found.get(key)
            incident = None
            if row is not None:
                incident = row.incident = self._incidents[row.incident_id]
            if incident is None or incident.status == Incident.Status.CLOSED:
                incident = self._incident_of_members(parcel)
            self.groups[key] = Group(row, incident)

    def _incident_of_members(self, parcel: Parcel) -> Incident | None:
        """Where other alerts of the group are already: brought by the poll, or under another group key."""
        rows = [self.known.get(parcel.key(alert)) for alert in parcel.alerts]
        found = [row.incident for row in rows if row is not None and row.ends_at is None and row.incident]
        found = [each for each in found if each.status != Incident.Status.CLOSED]
        if not found and parcel.beside is not None:
            found = [self._one(each) for each in Incident.objects.unresolved().filter(pk=parcel.beside)]
        return min(found, key=lambda each: each.pk, default=None)

    def _load_target_incidents(self) -> None:
        bound = {target.pk: target for target in self.targets.values() if target is not None}
        if not bound:
            return
        # The lock keeps two deliveries about one target from opening two incidents (PostgreSQL; SQLite has
        # one writer anyway).
        list(Target.objects.select_for_update().filter(pk__in=bound).order_by("pk").values_list("pk"))
        related = {key for target in bound.values() for key in (target.pk, target.parent_id) if key}
        rows = Incident.objects.unresolved().filter(target_id__in=related).order_by("-id")
        self.by_target = {row.target_id: self._one(row) for row in rows if row.target_id is not None}

    # --- what will be written ------------------------------------------------------------------

    def event(
        self, incident: Incident | None, kind: Event.Kind, actor: str, text: str, **data: object
    ) -> None:
        self.events.append(
            Event(incident=incident, at=self.now, kind=kind, actor=actor, text=text, data=data)
        )

    def change(self, episode: Episode) -> None:
        """Remember to write an episode; one that is new will be written anyway."""
        if episode.pk is not None:
            self.changed[episode.pk] = episode

    def open(self, incident: Incident, *, quiet: bool) -> None:
        self.opened.append((incident, quiet))

    def join(self, parcel: Parcel, incident: Incident, alert: Alert) -> None:
        """An alert comes to an incident that is open already, or is opened by this batch."""
        new = Joining(incident, parcel.source, parcel.quiet)
        self.joined.setdefault(id(incident), new).alerts.append(alert)

    def resolve(self, parcel: Parcel, incident: Incident) -> None:
        """The sender says that one of an incident's alerts has ended."""
        self.resolved[id(incident)] = (incident, parcel.source)

    def map_group(self, parcel: Parcel, incident: Incident) -> None:
        """From now on the group's alerts belong to this incident."""
        if not parcel.group_key:
            return
        group = self.groups.setdefault(parcel.group, Group())
        if group.row is not None and group.row.incident is incident:
            return
        if group.row is not None and group.row._state.adding:
            self.group_rows.remove(group.row)
        elif group.row is not None:
            GroupKey.objects.filter(pk=group.row.pk).update(ended_at=self.now)
        source, digest = parcel.group
        group.row = GroupKey(source=source, digest=digest, group_key=parcel.group_key, incident=incident)
        group.incident = incident
        self.group_rows.append(group.row)

    # --- writing -------------------------------------------------------------------------------

    def flush(self) -> None:
        self._write_incidents()
        self._write_ends()
        self.group_rows.sort(key=lambda row: (row.source, row.digest))
        self.created.sort(key=lambda row: (row.source, row.fingerprint))
        changes = [*self.counted, *counts.opened(incident for incident, _quiet in self.opened)]
        insert_all(self.group_rows, self.created, self.events, tally.as_rows(changes))
        for incident, source in self.resolved.values():
            services.end_when_all_resolved(incident, actor=source)
        for episode in self.contested:
            signals.episode_contested.send(Episode, episode_id=episode.pk)
        if self.opened:
            keys = [incident.pk for incident, _quiet in self.opened]
            signals.incidents_opened.send(Incident, incident_ids=keys)

    def _write_ends(self) -> None:
        """Before what is new: the database allows one open episode per alert."""
        rows = [self.changed[pk] for pk in sorted(self.changed)]
        Episode.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["id"], update_fields=CHANGEABLE
        )
        unchanged = sorted(self.seen - self.changed.keys())
        if unchanged:
            change(Episode, {"last_seen_at": self.now}, "id {}", unchanged)

    def _write_incidents(self) -> None:
        held = self._lock_incidents()
        for joining in self.joined.values():
            self._write_joins(joining, held)
        insert([incident for incident, _quiet in self.opened])
        loud = [incident for incident, quiet in self.opened if not quiet]
        notifications.tell_opened(*loud)

    def _lock_incidents(self) -> dict[int, Incident]:
        """As they are now. Before anything is inserted that refers to them, and locks them for that.

        Of two deliveries that each end one of an incident's last alerts, the later one sees both; and none
        overwrites what the other joined.
        """
        changing = [each.incident for each in self.joined.values()]
        changing += [incident for incident, _source in self.resolved.values()]
        keys = {incident.pk for incident in changing if not incident._state.adding}
        rows = Incident.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk")
        return {row.pk: row for row in rows} if keys else {}

    def _write_joins(self, joining: Joining, held: dict[int, Incident]) -> None:
        """The graver severity and the earlier start count; people are told when it becomes critical."""
        new = joining.incident._state.adding
        incident = joining.incident if new else held[joining.incident.pk]
        if incident.status == Incident.Status.CLOSED:
            raise Raced(f"#{incident.pk}")
        self._say_joined(joining)
        before, adopted = incident.severity_class, incident.adopted
        _merge(incident, joining)
        if new:
            return
        incident.save(
            update_fields=["severity", "severity_class", "started_at", "adopted", "ended_at", "joins"]
        )
        self.counted += counts.rose(incident, before)
        if joining.quiet:
            return
        if adopted:
            notifications.tell_opened(incident)
        elif incident.severity_class != before:
            rose = f"{notifications.opened_transition(incident)}:rose"
            notifications.tell_opened(incident, transition=rose)

    def _say_joined(self, joining: Joining) -> None:
        """One line, however many they are."""
        alerts = joining.alerts
        text = f"{alerts[0].title} joined: {alerts[0].description}"
        if len(alerts) > 1:
            names = list(dict.fromkeys(alert.title for alert in alerts))
            more = ", …" if len(names) > NAMED_JOINS else ""
            text = f"{len(alerts)} alerts joined: {', '.join(names[:NAMED_JOINS])}{more}"
        labels = [dict(alert.labels) for alert in alerts]
        self.event(joining.incident, Event.Kind.JOINED, joining.source, text, labels=labels)


def _merge(incident: Incident, joining: Joining) -> None:
    for alert in joining.alerts:
        incident.severity = worst(incident.severity, alert.severity)
        incident.started_at = min(incident.started_at, alert.starts_at)
    incident.severity_class = severity_class(incident.severity)
    incident.joins += len(joining.alerts)
    incident.ended_at = None
    if not joining.quiet:
        incident.adopted = False  # it is no longer what fired before we first looked
