"""Docker: containers of one or several engines, their state, logs, use of resources and events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from agents.tools.base import Case, Health, Integration, Result, ToolError, register, tool
from agents.tools.docker_changes import (
    START_SECONDS,
    Dependents,
    dependents,
    happened_since,
    restart,
    restart_seconds,
    start,
    stop,
)
from agents.tools.docker_client import (
    ContainerFacts,
    ContainerState,
    Listing,
    Stopper,
    clock,
    engine_version,
    evidence,
    inspect_container,
    list_containers,
    read_events,
    read_logs,
    read_stats,
    stopped_by,
)
from agents.tools.docker_engine import EngineEvent, docker_hosts, key_of, resolve
from agents.tools.text import capped, number, one_line, utc

MAX_ROWS = 60
MATCH_LINES = 2000  # searched when `match` is given
DAY = 24 * 60  # minutes
EXIT_CODES = {
    0: "it ended by itself, without an error",
    1: "the program's own error",
    125: "Docker could not run it",
    126: "its command cannot be executed",
    127: "its command was not found",
    130: "SIGINT",
    134: "SIGABRT: it aborted itself",
    137: "SIGKILL: killed from outside, or out of memory",
    139: "SIGSEGV: segmentation fault",
    143: "SIGTERM: it was asked to end",
}

Container = Annotated[str, Field(min_length=1, max_length=300, description="docker:host/name, or the name")]


def _configured() -> bool:
    return bool(docker_hosts())


def _check() -> Health:
    if not _configured():
        return Health(None, "not configured")
    ok, details, versions = True, [], []
    for host in docker_hosts():
        try:
            versions.append(engine_version(host))
            details.append(f"{host}: {versions[-1]}")
        except ToolError as error:
            ok = False
            details.append(f"{host}: {error}")
    return Health(ok, "; ".join(details), ", ".join(dict.fromkeys(versions)) or None)


DOCKER = register(Integration("docker", _configured, _check, ("DOCKER_HOSTS", "DOCKER_HOST")))


@tool(DOCKER, topics=("container", "docker", "service"))
def docker_list(case: Case, match: str | None = None) -> Result:
    """Containers of all Docker hosts, ailing ones first. `match`: part of a name, image or label."""
    listing = list_containers()
    found = [each for each in listing.containers if match is None or _mentions(each, match)]
    found.sort(key=lambda each: (each.status == "running" and each.health != "unhealthy", each.key))
    head = [
        f"containers: {len(found)} of {len(listing.containers)}",
        *(f"error: {one_line(text)}" for text in listing.errors.values()),
    ]
    lines = [_list_line(each) for each in found]
    return Result(
        "\n".join([*head, *capped(lines, MAX_ROWS, "match=, a part of the name or image")]),
        {
            "count": len(found),
            "errors": listing.errors,
            "containers": [
                {"key": each.key, "host": each.host, "name": each.name, **each.as_facts()}
                for each in found[:MAX_ROWS]
            ],
        },
    )


@tool(DOCKER, topics=("container", "docker", "down", "restart", "oom", "health"))
def docker_inspect(case: Case, container: Container) -> Result:
    """A container's state: status, exit code, out-of-memory kill, restarts, health, who stopped it, limit."""
    host, name = resolve(container)
    state = inspect_container(host, name)
    stopper = stopped_by(host, name)
    data = _inspect_data(state, stopper)
    return Result("\n".join(_inspect_lines(data)), data)


@tool(DOCKER, topics=("container", "docker", "log", "error"))
def docker_logs(
    case: Case,
    container: Container,
    lines: Annotated[int, Field(ge=1, le=500)] = 100,
    match: str | None = None,
) -> Result:
    """A container's last log lines with their times. `match`: only lines with this text, of the last 2000."""
    host, name = resolve(container)
    read = read_logs(host, name, lines if match is None else MATCH_LINES)
    fitting = [line for line in read if match is None or match.lower() in line.lower()]
    shown = [one_line(line) for line in fitting[-lines:]]
    head = [f"container: {key_of(host, name)}", f"lines: {len(shown)}"]
    if match is not None:
        head[-1] = f"lines: {len(shown)} of {len(fitting)} that match, {len(read)} searched"
    return Result(
        "\n".join([*head, *shown]),
        {
            "container": key_of(host, name),
            "count": len(shown),
            "matching": len(fitting),
            "searched": len(read),
        },
    )


@tool(DOCKER, topics=("container", "docker", "memory", "cpu", "oom"))
def docker_stats(case: Case, container: Container) -> Result:
    """A container's CPU and memory use now, against its limit (the host's memory when it has none)."""
    host, name = resolve(container)
    data: dict[str, Any] = {"container": key_of(host, name), **usage(read_stats(host, name))}
    lines = [f"container: {data['container']}"]
    if not data["running"]:
        lines.append("it does not run, so it uses nothing")
    for field in ("cpu_percent", "memory_bytes", "memory_limit", "memory_percent", "processes"):
        lines.append(f"{field}: {'unknown' if data[field] is None else number(data[field])}")
    return Result("\n".join(lines), data)


@tool(DOCKER, topics=("container", "docker", "restart", "oom", "die"))
def docker_events(
    case: Case, container: Container, minutes: Annotated[int, Field(ge=1, le=DAY)] = 60
) -> Result:
    """A container's events, newest first: start, die, oom, kill, stop. The engine keeps its last 256 only."""
    host, name = resolve(container)
    everything = read_events(host, name, seconds_back=minutes * 60)
    # A health check is an exec every few seconds; only its verdict tells anything.
    events = [each for each in everything if not each.action.startswith("exec_")]
    head = [f"container: {key_of(host, name)}", f"events in {minutes} min: {len(events)}"]
    newest_first = [_event_line(each) for each in reversed(events)]
    return Result(
        "\n".join([*head, *capped(newest_first, MAX_ROWS, "fewer minutes")]),
        {
            "container": key_of(host, name),
            "count": len(events),
            "events": [
                {
                    "at": utc(each.at),
                    "action": each.action,
                    "exit_code": each.exit_code,
                    "signal": each.signal,
                }
                for each in events[-MAX_ROWS:]
            ],
        },
    )


def usage(raw: Mapping[str, Any]) -> dict[str, Any]:
    """CPU and memory as `docker stats` shows them; None where the engine does not say.

    100 % is one processor. The page cache that the kernel can drop at once is not counted as used.
    """
    cpu, before, memory = raw.get("cpu_stats", {}), raw.get("precpu_stats", {}), raw.get("memory_stats", {})
    used, limit = memory.get("usage"), memory.get("limit")
    details = memory.get("stats", {})
    if used is not None:
        used -= min(used, details.get("inactive_file", details.get("total_inactive_file", 0)))
    return {
        "running": bool(raw.get("pids_stats", {}).get("current") or used),
        "cpu_percent": _cpu_percent(cpu, before),
        "memory_bytes": used,
        "memory_limit": limit,
        "memory_percent": round(100 * used / limit, 2) if used is not None and limit else None,
        "processes": raw.get("pids_stats", {}).get("current"),
    }


def exit_meaning(code: int | None, *, oom_killed: bool = False) -> str | None:
    """What an exit code says, in words; None without one."""
    if code is None:
        return None
    if code == 137 and oom_killed:
        return "SIGKILL: out of memory"
    if code in EXIT_CODES:
        return EXIT_CODES[code]
    return f"signal {code - 128}" if 128 < code < 160 else "the program's own code"


def _cpu_percent(cpu: Mapping[str, Any], before: Mapping[str, Any]) -> float | None:
    try:
        used = cpu["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
        passed = cpu["system_cpu_usage"] - before["system_cpu_usage"]
    except KeyError:
        return None
    processors = cpu.get("online_cpus") or len(cpu["cpu_usage"].get("percpu_usage") or ()) or None
    if passed <= 0 or used < 0 or processors is None:
        return None
    return round(float(100 * used / passed * processors), 2)


def _inspect_data(state: ContainerState, stopper: Stopper | None) -> dict[str, Any]:
    return {
        "container": state.key,
        "host": state.host,
        "name": state.name,
        "id": state.id,
        "status": state.status,
        "running": state.running,
        "exit_code": state.exit_code,
        "exit_meaning": exit_meaning(state.exit_code, oom_killed=state.oom_killed),
        "oom_killed": state.oom_killed,
        "error": state.error,
        "stopped_by": stopper,
        "started_at": state.started_at,
        "finished_at": state.finished_at,
        "restart_count": state.restart_count,
        "restart_policy": state.restart_policy,
        "health": state.health,
        "health_log": state.health_log,
        "memory_limit": state.memory_limit,
        "image": state.image,
        "image_id": state.image_id,
        "network_mode": state.network_mode,
        "ports": list(state.ports),
        "pid": state.pid,
        "labels": dict(state.labels),
        "environment": list(state.environment),
    }


def _inspect_lines(data: Mapping[str, Any]) -> list[str]:
    plain = {key: value for key, value in data.items() if key not in ("exit_meaning", "labels", "id")}
    if data["exit_meaning"]:
        plain["exit_code"] = f"{data['exit_code']} ({data['exit_meaning']})"
    lines = [f"{key}: {_shown(value)}" for key, value in plain.items()]
    return lines + [f"label {one_line(key)}: {one_line(value)}" for key, value in data["labels"].items()]


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(one_line, value)) or "none" if isinstance(value, list) else one_line(str(value))


def _list_line(each: ContainerFacts) -> str:
    text = f"{each.key} status={each.status} health={each.health or 'none'} restart={each.restart_policy}"
    return one_line(f"{text} image={each.image} ports={','.join(each.ports) or 'none'}")


def _event_line(each: EngineEvent) -> str:
    code = "" if each.exit_code is None else f" exit_code={each.exit_code}"
    signal = "" if each.signal is None else f" signal={each.signal}"
    return one_line(f"{utc(each.at)} {each.action}{code}{signal}")


def _mentions(each: ContainerFacts, match: str) -> bool:
    texts = (each.key, each.image, *each.labels.values())
    return any(match.lower() in text.lower() for text in texts)


__all__ = [
    "DOCKER",
    "START_SECONDS",
    "ContainerFacts",
    "ContainerState",
    "Dependents",
    "Listing",
    "Stopper",
    "clock",
    "dependents",
    "docker_events",
    "docker_inspect",
    "docker_list",
    "docker_logs",
    "docker_stats",
    "evidence",
    "exit_meaning",
    "happened_since",
    "inspect_container",
    "list_containers",
    "resolve",
    "restart",
    "restart_seconds",
    "start",
    "stop",
    "stopped_by",
    "usage",
]
