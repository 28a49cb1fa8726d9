"""What is done to containers, how it is seen to have been done, and who else feels it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.tools.base import ToolError
from agents.tools.docker_engine import TIMEOUT, engine, engine_now, events_of, inspect, key_of, seconds

COMPOSE = "com.docker.compose"
START_SECONDS = float(TIMEOUT)  # so long the engine may be at a start that nobody waits for any more
DEFAULT_STOP_SECONDS = 10  # the engine's, for a container that says nothing
# No call is longer than the lease of who makes it: a container that asks for more gets this much.
LONGEST_STOP_SECONDS = 120


@dataclass(frozen=True)
class Dependents:
    """Keys of the containers that depend on one, and of those that use its network."""

    needing: tuple[str, ...]
    in_its_network: tuple[str, ...]


def restart(host: str, name: str) -> None:
    """Stop the container and start it. On ToolError the engine says that it failed; when that is
    `unanswered`, nobody knows.

    It gets its own time to stop (compose's `stop_grace_period`) before the engine kills it: a database
    needs it. The client waits that long and TIMEOUT seconds more.
    """
    with engine(host) as client:
        attributes = inspect(client, name)
        client.restart(attributes["Id"], timeout=_stop_seconds(attributes))


def start(host: str, name: str) -> None:
    """Start a container that does not run; errors as of `restart`."""
    with engine(host) as client:
        client.start(inspect(client, name)["Id"])


def stop(host: str, name: str) -> None:
    """Stop a container, with its own time to do so; errors as of `restart`."""
    with engine(host) as client:
        attributes = inspect(client, name)
        client.stop(attributes["Id"], timeout=_stop_seconds(attributes))


def restart_seconds(host: str, name: str) -> float:
    """So long the engine may be at a restart, at most; the longest when it cannot be asked."""
    try:
        with engine(host) as client:
            return float(_stop_seconds(inspect(client, name)) + TIMEOUT)
    except ToolError:
        return float(LONGEST_STOP_SECONDS + TIMEOUT)


def happened_since(host: str, name: str, *, event: str, container_id: str, since: float) -> bool | None:
    """Whether somebody had that very container `restart`ed, `start`ed or `stop`ped since a moment of the
    engine's clock.

    The engine's event says so. For a restart, that it started again does not: a restart policy starts it,
    too. None when nobody can know, as the engine forgets events.
    """
    with engine(host) as client:
        actions = {
            each.action for each in events_of(client, container_id, since=since, until=engine_now(client))
        }
        if event in actions:
            return True
        attributes = inspect(client, name)
        if attributes["Id"] != container_id:
            return None
        # A start or an end that the events do not tell of: they are gone, and ours may be gone with them.
        forgotten = any(
            (at := seconds(attributes["State"].get(when))) is not None and at > since and told not in actions
            for when, told in (("StartedAt", "start"), ("FinishedAt", "die"))
        )
        return None if forgotten else False


def dependents(host: str, name: str) -> Dependents:
    """The containers of that engine that need this one: by their compose file, or for their network."""
    with engine(host) as client:
        own = inspect(client, name)
        rows = client.containers(all=True)
    labels = own["Config"].get("Labels") or {}
    service, project = labels.get(f"{COMPOSE}.service"), labels.get(f"{COMPOSE}.project")
    needing, networked = [], []
    for row in rows:
        theirs = row.get("Labels") or {}
        key = key_of(host, row["Names"][0].lstrip("/"))
        if row.get("HostConfig", {}).get("NetworkMode") == f"container:{own['Id']}":
            networked.append(key)
        elif service and theirs.get(f"{COMPOSE}.project") == project:
            # `db:service_healthy:false,cache:service_started:false`
            needs = theirs.get(f"{COMPOSE}.depends_on", "").split(",")
            if service in {each.split(":", 1)[0] for each in needs}:
                needing.append(key)
    return Dependents(tuple(sorted(needing)), tuple(sorted(networked)))


def _stop_seconds(attributes: Mapping[str, Any]) -> int:
    own = attributes["Config"].get("StopTimeout")
    if own is None:
        return DEFAULT_STOP_SECONDS
    return min(own, LONGEST_STOP_SECONDS) if own >= 0 else LONGEST_STOP_SECONDS  # -1: however long it takes
