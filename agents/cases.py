"""An incident as tools and agents see it: a `Case`, free of the ORM."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from agents import promql
from agents.tools import docker
from agents.tools.base import Case
from incidents import inventory, rawsql
from incidents.models import Episode, Incident, Target
from incidents.redaction import clean_tree

MOST_ALERTS = 50  # of an incident are looked through for what they are about


def expression_of(episode: Episode) -> str | None:
    """The alert's own expression: of our own check, else `g0.expr` of its link. Never fetched."""
    if episode.condition and "expression" in episode.condition:
        return str(episode.condition["expression"])
    return promql.expression_of(episode.generator_url)


def prometheus_of(episode: Episode) -> str | None:
    """Where the alert says it came from, `http://host:port`; None when it does not say."""
    try:
        parts = urlsplit(episode.generator_url)
    except ValueError:  # a sender may write anything there
        return None
    return f"{parts.scheme}://{parts.netloc.rsplit('@', 1)[-1]}" if parts.netloc else None


def alerts_of(incident: Incident, most: int | None = None) -> list[Episode]:
    """The first alerts of an incident, in the order of their keys."""
    return rawsql.fetch(Episode, "incident_id = {}", incident.pk, most=most)


def first_episode(
    incident: Incident, target: Target | None, alerts: list[Episode] | None = None
) -> Episode | None:
    """The alert that an investigation of a target starts from: one that fires, the oldest.

    `alerts`: the incident's first ones, where they have been read.
    """
    rows = alerts_of(incident, MOST_ALERTS) if alerts is None else alerts[:MOST_ALERTS]
    about = target.pk if target else None
    rows.sort(key=lambda row: (row.ends_at is not None, row.target_id != about, row.pk))
    return rows[0] if rows else None


def build(incident: Incident, focus: Target | None = None, alerts: list[Episode] | None = None) -> Case:
    """The case of an incident, or of one of its targets."""
    target = focus or incident.target
    return of_episode(incident, first_episode(incident, target, alerts), target)


def of_episode(incident: Incident, episode: Episode | None, target: Target | None = None) -> Case:
    """The case of one alert of an incident."""
    labels = episode.labels if episode else {}
    expression = expression_of(episode) if episode else None
    return Case(
        incident_id=incident.pk,
        alert_name=episode.alert_name if episode else incident.alert_name,
        severity=incident.severity,
        labels=labels,
        annotations=episode.annotations if episode else {},
        starts_at=episode.starts_at if episode else incident.started_at,
        source=incident.source,
        expression=expression,
        measure=promql.measured(expression) if expression else None,
        prometheus_of_alert=prometheus_of(episode) if episode else None,
        target=target.key if target else None,
        target_kind=target.kind if target else None,
        candidates=inventory.bind(labels).candidates if target is None else (),
    )


def bind_targets(incident: Incident, alerts: Iterable[Episode]) -> None:
    """Bind those of an incident's alerts that have no target yet, after a fresh look at the inventory.

    A container may be younger than the last look, so the engines are asked again.
    """
    unbound = [episode for episode in alerts if episode.target_id is None][:MOST_ALERTS]
    if not unbound:
        return
    if settings.DOCKER_HOSTS:
        refresh_inventory()
    found = inventory.bind_many([episode.labels for episode in unbound])
    for episode, target in zip(unbound, (each.target for each in found), strict=True):
        if target is None:
            continue
        with transaction.atomic():  # an alert that is bound is not looked at again, nor its incident
            Episode.objects.filter(pk=episode.pk).update(target=target)
            Incident.objects.filter(pk=incident.pk, target=None).update(target=target)
        episode.target = target
        incident.target = incident.target or target


def refresh_inventory() -> docker.Listing:
    """Ask every Docker host what it runs. A host that is silent keeps its rows."""
    listing = docker.list_containers()
    for host in settings.DOCKER_HOSTS:
        if host in listing.errors:
            continue
        things = [
            inventory.Described("docker", host, each.name, clean_tree(each.as_facts()))
            for each in listing.containers
            if each.host == host
        ]
        inventory.refresh(kind="docker", host=host, things=things)
    return listing
