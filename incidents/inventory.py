"""The inventory: which thing an alert is about.

A target comes from an alert's labels and this table, never from log text. A name that fits several rows is
ambiguous and binds to none; its candidates are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from incidents.models import Target
from incidents.rawsql import fetch

# Labels that name a thing, surest first. cAdvisor says `name`, exporters and people `container`.
NAME_LABELS = (
    "container",
    "container_name",
    "docker_container",
    "name",
    "container_label_com_docker_compose_service",
    "service",
)
HOST_LABELS = ("docker_host", "host", "node", "nodename", "hostname")
HOST_KIND = "_host"  # how the kind of a host ends


@dataclass(frozen=True)
class Binding:
    """The target that labels name, or the candidates among which they do not decide."""

    target: Target | None
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Described:
    """A thing as an integration describes it."""

    kind: str
    host: str
    name: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return target_key(self.kind, self.host, self.name)


def target_key(kind: str, host: str, name: str) -> str:
    """The one spelling of a target: `docker:host/name`, `docker_host:name`."""
    return f"{kind}:{host}/{name}" if name else f"{kind}:{host}"


def label_name(labels: Mapping[str, str]) -> str:
    """The name that labels give a thing, empty without one: the surest of them, and no other.

    The less sure ones, `instance` above all, may name whoever measured the thing.
    """
    for label in NAME_LABELS:
        if labels.get(label):
            return labels[label].lstrip("/")
    return _host_of(labels.get("instance", ""))


def _host_of(instance: str) -> str:
    """The host of `jellyfin:9100`, or of a probe's `https://jellyfin:8096/health`; empty without one."""
    try:
        return urlsplit(instance if "://" in instance else f"//{instance}").hostname or ""
    except ValueError:
        return ""


def bind(labels: Mapping[str, str]) -> Binding:
    """The inventory row that an alert's labels name."""
    return bind_many([labels])[0]


def bind_many(many: Sequence[Mapping[str, str]]) -> list[Binding]:
    """As `bind`, for the labels of many alerts with one query."""
    names = {label_name(labels) for labels in many} - {""}
    hosts = {host for labels in many for host in _hosts(labels)} if names else set()
    rows: dict[str, list[Target]] = {}
    if names:
        for row in fetch(Target, "name {} AND gone_at IS NULL", sorted(names | hosts)):
            rows.setdefault(row.name, []).append(row)
    return [_bind(labels, rows) for labels in many]


def _bind(labels: Mapping[str, str], rows: Mapping[str, list[Target]]) -> Binding:
    fitting = rows.get(label_name(labels), [])
    on_host = [row for row in fitting if row.host in _hosts(labels)]
    if on_host or any(_is_known_host(rows.get(host, ())) for host in _hosts(labels)):
        fitting = on_host  # a thing of that name on another host is another thing
    if len(fitting) == 1:
        return Binding(fitting[0])
    return Binding(None, tuple(sorted(row.key for row in fitting)))


def _hosts(labels: Mapping[str, str]) -> set[str]:
    return {labels[label] for label in HOST_LABELS if labels.get(label)}


def _is_known_host(rows: Iterable[Target]) -> bool:
    return any(row.kind.endswith(HOST_KIND) for row in rows)


@transaction.atomic
def refresh(*, kind: str, host: str, things: Iterable[Described]) -> list[Target]:
    """Write what an integration sees on a host; what it no longer sees there is marked gone.

    A few statements for any number of things: each alert that no target fits asks for it.
    """
    now = timezone.now()
    parent, _ = Target.objects.update_or_create(
        key=target_key(f"{kind}{HOST_KIND}", host, ""),
        defaults={
            "kind": f"{kind}{HOST_KIND}",
            "host": host,
            "name": host,
            "last_seen_at": now,
            "gone_at": None,
        },
    )
    rows = {
        thing.key: Target(
            key=thing.key,
            kind=kind,
            host=host,
            name=thing.name,
            parent=parent,
            facts=thing.facts,
            last_seen_at=now,
        )
        for thing in things
    }
    seen = Target.objects.bulk_create(
        [rows[key] for key in sorted(rows)],  # in one order: two that refresh must not wait for each other
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=["kind", "host", "name", "parent", "facts", "last_seen_at", "gone_at"],
    )
    _of_host(kind, host).exclude(pk__in=[row.pk for row in seen]).update(gone_at=now)
    return seen


def _of_host(kind: str, host: str) -> QuerySet[Target]:
    return Target.objects.filter(kind=kind, host=host, gone_at=None)
