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

Stopper = Literal["person", "crash", "unknown"]


@dataclass(frozen=True)
class TargetState:
    """What a target is right now. `identity`, `image` and `status_class` are what an approval is bound to."""

    identity: str
    image: str
    status_class: str
    labels: dict[str, str]
    stopped_by: Stopper | None
    stopped_at: str | None
    started_at: str | None

    def approved_part(self) -> dict[str, str]:
        return {"identity": self.identity, "image": self.image, "status_class": self.status_class}


@dataclass(frozen=True)
class ActionSpec:
    """One kind of change. `happened` compares with the state just before; None when nobody can know."""

    target_kind: str
    state: Callable[[Target], TargetState]
    run: Callable[[Target], None]
    happened: Callable[[Target, str | None], bool | None]
    evidence: Callable[[Target], dict[str, Any]]
    touches: Callable[[Target], str]


def digest(kind: str, target: Target, arguments: dict[str, Any], state: TargetState) -> str:
    """What an approval approves: no counters and no times are in it."""
    approved = [kind, target.key, arguments, state.approved_part()]
    return hashlib.sha256(json.dumps(approved, sort_keys=True).encode()).hexdigest()


def container_state(target: Target) -> TargetState:
    state = docker.inspect_container(target.host, target.name)
    stopper: Stopper | None = None if state.running else docker.stopped_by(target.host, target.name)
    return TargetState(
        identity=state.id,
        image=state.image_id,
        status_class="running" if state.running else "stopped",
        labels=dict(state.labels),
        stopped_by=stopper,
        stopped_at=None if state.running else state.finished_at,
        started_at=state.started_at,
    )


def _restarted_since(target: Target, started_before: str | None) -> bool | None:
    """Whether the container started again. Two readings of the engine's clock; ours may differ from it."""
    try:
        started = docker.inspect_container(target.host, target.name).started_at
    except ToolError:
        return None
    return started is not None and started != started_before


SPECS: dict[str, ActionSpec] = {
    ActionKind.RESTART_CONTAINER: ActionSpec(
        target_kind="docker",
        state=container_state,
        run=lambda target: docker.restart(target.host, target.name),
        happened=_restarted_since,
        evidence=lambda target: docker.evidence(target.host, target.name),
        touches=lambda target: f"restarts {target.key} (10 s to stop) and nothing else",
    ),
}


def spec_of(action: Action) -> ActionSpec:
    return SPECS[action.kind]
