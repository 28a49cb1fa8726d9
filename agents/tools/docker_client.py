"""Containers as typed values."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from docker import APIClient
from docker.errors import NotFound

from agents.tools.base import ToolError
from agents.tools.docker_engine import (
    EngineEvent,
    Refused,
    docker_hosts,
    engine,
    engine_now,
    events_of,
    inspect,
    key_of,
    seconds,
)

Stopper = Literal["person", "crash", "unknown"]

EVIDENCE_LINES = 500
EVIDENCE_EVENTS_SECONDS = 24 * 3600
MAX_LOG_BYTES = 4 * 1024 * 1024
STOP_LEAD_SECONDS = 10.0
# `stop` is recorded a moment after `die`; a `die` younger than this is looked at again.
STOP_GRACE_SECONDS = 2.0
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True)
class ContainerFacts:
    """A container as the inventory keeps it. `published_ports`: the host's TCP and UDP ports."""

    key: str
    host: str
    name: str
    id: str
    image: str
    image_id: str
    labels: Mapping[str, str]
    status: str  # "running", "exited", "restarting", "paused", "created", "dead", "removing"
    health: str | None  # "healthy", "unhealthy", "starting"; None without a health check or while stopped
    ports: tuple[str, ...]  # "127.0.0.1:8080->80/tcp"
    published_ports: tuple[int, ...]
    created: str
    restart_policy: str
    # Names and addresses by which other containers reach it.
    aliases: tuple[str, ...] = field(default=(), kw_only=True)

    def as_facts(self) -> dict[str, Any]:
        """As JSON, without what the inventory's row says already."""
        own = {"key", "host", "name"}
        kept = [each.name for each in fields(ContainerFacts) if each.name not in own]
        return {name: _json(getattr(self, name)) for name in kept}


@dataclass(frozen=True)
class Listing:
    """The containers of all hosts that answered, and why the others did not."""

    containers: tuple[ContainerFacts, ...]
    errors: dict[str, str]


@dataclass(frozen=True)
class ContainerState(ContainerFacts):
    """A container in detail. Times are the engine's RFC 3339, None for never; sizes are bytes.

    `exit_code` is that of the last run; None while it runs or before it ever did. `memory_limit` is None
    without a limit.
    """

    running: bool
    exit_code: int | None
    oom_killed: bool
    error: str | None
    started_at: str | None
    finished_at: str | None
    restart_count: int
    health_log: str | None
    memory_limit: int | None
    network_mode: str
    pid: int | None
    environment: tuple[str, ...]  # names only


def list_containers() -> Listing:
    """Every container of every host, stopped ones too. A host that does not answer hides no other."""
    hosts = list(docker_hosts())
    if not hosts:
        return Listing((), {})
    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = list(pool.map(_containers_or_error, hosts))
    errors = {host: answer for host, answer in zip(hosts, answers, strict=True) if isinstance(answer, str)}
    found = [each for answer in answers if not isinstance(answer, str) for each in answer]
    return Listing(tuple(found), errors)


def inspect_container(host: str, name: str) -> ContainerState:
    """ToolError when there is no such container or its host does not answer."""
    with engine(host) as client:
        return state_of(host, inspect(client, name))


def stopped_by(host: str, name: str) -> Stopper | None:
    """Who ended a container that does not run: None while it runs.

    A `stop` event: somebody asked the engine to stop it ("person"). `die` without `stop`: it ended by
    itself with whatever exit code, was killed from outside, or by `docker kill` ("crash"). Neither:
    "unknown", as the engine keeps 256 events and none over its own restart, and a proxy may hide them.
    """
    with engine(host) as client:
        attributes = inspect(client, name)
    if attributes["State"]["Running"]:
        return None
    finished = seconds(attributes["State"]["FinishedAt"])
    if finished is None:
        return "unknown"
    try:
        return _who_stopped(_events_of_end(host, attributes["Id"], finished))
    except Refused:
        return "unknown"


def clock(host: str) -> float:
    """Seconds since 1970 by the engine's clock."""
    with engine(host) as client:
        return engine_now(client)


def evidence(host: str, name: str) -> dict[str, Any]:
    """What a restart destroys: the last 500 log lines, the inspection (no environment values), the events.

    Logs that cannot be read (some log drivers) are None, with `logs_error`.
    """
    with engine(host) as client:
        attributes = inspect(client, name)
        now = engine_now(client)
        events = events_of(client, attributes["Id"], since=now - EVIDENCE_EVENTS_SECONDS, until=now)
    kept: dict[str, Any] = {
        "container": key_of(host, name),
        "inspect": without_environment(attributes),
        "events": [asdict(each) for each in events],
        "logs": None,
        "logs_error": None,
    }
    try:
        kept["logs"] = "\n".join(read_logs(host, name, EVIDENCE_LINES))
    except ToolError as error:
        kept["logs_error"] = str(error)
    return kept


def read_logs(host: str, name: str, lines: int) -> list[str]:
    """The last log lines of both streams, each with its time; of more than 4 MiB, the last 4 MiB."""
    with engine(host) as client:
        # An id: the client looks the container up a second time, to learn whether it has a terminal.
        container = inspect(client, name)["Id"]
        kept = bytearray()
        for chunk in client.logs(container, stream=True, follow=False, timestamps=True, tail=lines):
            kept += chunk
            del kept[:-MAX_LOG_BYTES]
    return [printable(line) for line in bytes(kept).split(b"\n") if line]


def read_stats(host: str, name: str) -> dict[str, Any]:
    """The engine's raw counters, two samples about a second apart."""
    with engine(host) as client:
        raw: dict[str, Any] = client.stats(inspect(client, name)["Id"], stream=False)
    return raw


def read_events(host: str, name: str, *, seconds_back: float) -> list[EngineEvent]:
    """Events of the container, oldest first."""
    with engine(host) as client:
        now = engine_now(client)
        return events_of(client, inspect(client, name)["Id"], since=now - seconds_back, until=now)


def engine_version(host: str) -> str:
    with engine(host) as client:
        return str(client.version()["Version"])


def printable(line: bytes) -> str:
    """A log line as text: colours dropped, what is not text written as an escape."""
    text = _ANSI.sub("", line.decode(errors="backslashreplace")).rstrip("\r")
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def without_environment(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The inspection with the names of environment variables alone: their values are secrets."""
    scrubbed = copy.deepcopy(dict(attributes))
    scrubbed.get("Config", {})["Env"] = list(_environment(attributes))
    return scrubbed


def _containers_or_error(host: str) -> list[ContainerFacts] | str:
    try:
        with engine(host) as client:
            rows = client.containers(all=True)
            return [each for row in rows if (each := _facts_if_there(client, host, row["Id"])) is not None]
    except ToolError as error:
        return str(error)


def _facts_if_there(client: APIClient, host: str, container_id: str) -> ContainerFacts | None:
    """None when it was removed since it was listed. The list itself lacks health and restart policy."""
    try:
        return facts_of(host, client.inspect_container(container_id))
    except NotFound:
        return None


def facts_of(host: str, attributes: Mapping[str, Any]) -> ContainerFacts:
    name = attributes["Name"].lstrip("/")
    state, config, host_config = attributes["State"], attributes["Config"], attributes["HostConfig"]
    bindings = attributes["NetworkSettings"].get("Ports") or host_config.get("PortBindings") or {}
    published = [(port, each) for port, ends in sorted(bindings.items()) for each in ends or ()]
    # Of a container that ended the engine keeps some last word: "unhealthy" even where no probe failed.
    health = (state.get("Health") or {}).get("Status") if state["Running"] else None
    return ContainerFacts(
        key=key_of(host, name),
        host=host,
        name=name,
        id=attributes["Id"],
        image=config["Image"],
        image_id=attributes["Image"],
        labels=config.get("Labels") or {},
        status=state["Status"],
        health=health if health not in ("", "none") else None,
        ports=tuple(
            dict.fromkeys(
                f"{each.get('HostIp') or '*'}:{each['HostPort']}->{port}" for port, each in published
            )
        ),
        published_ports=tuple(sorted({int(each["HostPort"]) for _, each in published if each["HostPort"]})),
        created=attributes["Created"],
        restart_policy=(host_config.get("RestartPolicy") or {}).get("Name") or "no",
        aliases=_aliases(attributes),
    )


def _aliases(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Of each network the names that its name server knows, and the address; and its own host name."""
    found: set[str] = set()
    if attributes["HostConfig"].get("NetworkMode") != "host":  # else it has the machine's own name
        found.add(attributes["Config"].get("Hostname") or "")
    for network in (attributes["NetworkSettings"].get("Networks") or {}).values():
        found.update(network.get("Aliases") or (), network.get("DNSNames") or ())
        found.update((network.get("IPAddress") or "", network.get("GlobalIPv6Address") or ""))
    return tuple(sorted(found - {""}))


def state_of(host: str, attributes: Mapping[str, Any]) -> ContainerState:
    state, host_config = attributes["State"], attributes["HostConfig"]
    ended = seconds(state["FinishedAt"]) is not None and state["Status"] in ("exited", "dead", "restarting")
    return ContainerState(
        **vars(facts_of(host, attributes)),
        running=state["Running"],
        exit_code=state["ExitCode"] if ended else None,
        oom_killed=state["OOMKilled"],
        error=state["Error"] or None,
        started_at=state["StartedAt"] if seconds(state["StartedAt"]) is not None else None,
        finished_at=state["FinishedAt"] if seconds(state["FinishedAt"]) is not None else None,
        restart_count=attributes["RestartCount"],
        health_log=_last_probe((state.get("Health") or {}).get("Log") or []),
        memory_limit=host_config.get("Memory") or None,
        network_mode=host_config["NetworkMode"],
        pid=state["Pid"] or None,
        environment=_environment(attributes),
    )


def _last_probe(log: list[dict[str, Any]]) -> str | None:
    if not log:
        return None
    return f"{log[-1]['End']} exit code {log[-1]['ExitCode']}: {printable(log[-1]['Output'].encode())}"


def _environment(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(pair.partition("=")[0] for pair in attributes["Config"].get("Env") or ())


def _events_of_end(host: str, container_id: str, finished: float) -> list[EngineEvent]:
    with engine(host) as client:
        now = engine_now(client)
        if (age := now - finished) < STOP_GRACE_SECONDS:
            time.sleep(STOP_GRACE_SECONDS - max(0.0, age))
            now = engine_now(client)
        return events_of(client, container_id, since=finished - STOP_LEAD_SECONDS, until=now)


def _who_stopped(events: list[EngineEvent]) -> Stopper:
    """From the events around its end, those of its last run alone."""
    actions = [each.action for each in events]
    last_run = actions[len(actions) - actions[::-1].index("start") :] if "start" in actions else actions
    if "stop" in last_run:
        return "person"
    return "crash" if "die" in last_run else "unknown"


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
