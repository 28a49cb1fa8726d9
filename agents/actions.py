"""The changes that exist, each typed: what it would touch, how it is done, how its effect is seen.

Only `agents.executor` calls `run`, and only after `authorize()`. Agents hold no way to get here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from agents.models import Action, ActionKind
from agents.tools import docker
from agents.tools.base import ToolError
from incidents.models import Target

StatusClass = Literal["running", "paused", "stopped"]
Stopper = Literal["person", "crash", "unknown"]


@dataclass(frozen=True)
class TargetState:
    """What a target is right now. `identity`, `image` and `status_class` are what an approval is bound to.

    `read_at`: when it was read, by the engine's clock; None when the engine does not say what time it is.
    """

    identity: str
    image: str
    status_class: StatusClass
    labels: dict[str, str]
    stopped_by: Stopper | None
    stopped_at: str | None
    started_at: str | None
    read_at: float | None = None

    def approved_part(self) -> dict[str, str]:
        return {"identity": self.identity, "image": self.image, "status_class": self.status_class}


@dataclass(frozen=True)
class ActionSpec:
    """One kind of change.

    `happened` is given the snapshot of the state just before, and says None when nobody can know. The engine
    may still be at it for `under_way` seconds after its beginning, though nobody listens any more.
    """

    target_kind: str
    state: Callable[[Target], TargetState]
    run: Callable[[Target], None]
    happened: Callable[[Target, dict[str, Any]], bool | None]
    under_way: Callable[[Target], float]
    evidence: Callable[[Target], dict[str, Any]]
    touches: Callable[[Target], str]


def digest(kind: str, target: Target, arguments: dict[str, Any], state: TargetState) -> str:
    """What an approval approves: no counters and no times are in it."""
    approved = [kind, target.key, arguments, state.approved_part()]
    return hashlib.sha256(json.dumps(approved, sort_keys=True).encode()).hexdigest()


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


def _restarted_since(target: Target, before: dict[str, Any]) -> bool | None:
    identity, read_at = before.get("identity"), before.get("read_at")
    if identity is None or read_at is None:
        return None
    try:
        return docker.restarted_since(target.host, target.name, container_id=identity, since=read_at)
    except ToolError:
        return None


SPECS: dict[str, ActionSpec] = {
    ActionKind.RESTART_CONTAINER: ActionSpec(
        target_kind="docker",
        state=container_state,
        run=lambda target: docker.restart(target.host, target.name),
        happened=_restarted_since,
        under_way=lambda target: docker.restart_seconds(target.host, target.name),
        evidence=lambda target: docker.evidence(target.host, target.name),
        touches=lambda target: f"restarts {target.key}, which gets its own time to stop, and nothing else",
    ),
}


def spec_of(action: Action) -> ActionSpec:
    return SPECS[action.kind]
