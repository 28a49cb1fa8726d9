"""Restart, start and stop of a container. What is read for a dry run is read from its engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from agents.changes.spec import ActionSpec, StatusClass, Stopper, TargetState
from agents.models import Action
from agents.tools import docker
from agents.tools.base import ToolError
from incidents.models import Target

KIND = "docker"


def container_state(target: Target) -> TargetState:
    read_at = _clock(target.host)  # before the reading: what is seen to happen later happened after it
    state = docker.inspect_container(target.host, target.name)
    stopper: Stopper | None = None if state.running else docker.stopped_by(target.host, target.name)
    return TargetState(
        identity=state.id,
        image=state.image_id,
        status_class=_status_class(state),
        labels=dict(state.labels),
        stopped_by=stopper,
        stopped_at=None if state.running else state.finished_at,
        started_at=state.started_at,
        read_at=read_at,
        restarting=state.status == "restarting",
    )


def _status_class(state: docker.ContainerState) -> StatusClass:
    """The engine counts a paused container among those that run, but somebody wants it to stand still."""
    if state.status == "paused":
        return "paused"
    return "running" if state.running else "stopped"


def _clock(host: str) -> float | None:
    try:
        return docker.clock(host)
    except ToolError:
        return None


def _happened(event: str, action: Action, before: dict[str, Any]) -> bool | None:
    identity, read_at = before.get("identity"), before.get("read_at")
    if identity is None or read_at is None:
        return None
    host, name = action.target.host, action.target.name
    try:
        return docker.happened_since(host, name, event=event, container_id=identity, since=read_at)
    except ToolError:
        return None


def container_evidence(action: Action) -> dict[str, Any]:
    return docker.evidence(action.target.host, action.target.name)


def _touches(does: str, suffers: tuple[str, str] | None, action: Action) -> str:
    """`suffers`: what becomes of those that need it, and of those that live in its network."""
    target = action.target
    words = [f"{does.format(target.key)}; its volumes and its image stay"]
    found = docker.dependents(target.host, target.name)
    if suffers is None:
        return f"{words[0]}, and nothing else is touched"
    for keys, what in zip((found.needing, found.in_its_network), suffers, strict=True):
        if keys:
            words.append(f"{', '.join(keys)} {what}")
    return "; ".join(words) if len(words) > 1 else f"{words[0]}, and nothing is known to need it"


def _container(
    verb: str,
    does: str,
    run: Callable[[str, str], None],
    seconds: Callable[[str, str], float],
    suffers: tuple[str, str] | None,
) -> ActionSpec:
    return ActionSpec(
        fits=lambda target: target.kind == KIND and target.gone_at is None,
        state=lambda action: container_state(action.target),
        run=lambda action: run(action.target.host, action.target.name),
        happened=partial(_happened, verb),
        under_way=lambda action: seconds(action.target.host, action.target.name),
        evidence=container_evidence,
        touches=partial(_touches, does, suffers),
    )


RESTART = _container(
    "restart",
    "restarts {}, which gets its own time to stop",
    docker.restart,
    docker.restart_seconds,
    ("(depends on it) must do without it meanwhile", "(uses its network) loses it until restarted, too"),
)
START = _container("start", "starts {}", docker.start, lambda host, name: docker.START_SECONDS, None)
STOP = _container(
    "stop",
    "stops {}, which gets its own time to stop and stays down until somebody starts it",
    docker.stop,
    docker.restart_seconds,
    ("(depends on it) must do without it", "(uses its network) loses it"),
)
