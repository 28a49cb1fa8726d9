"""The changes that exist, by kind. `agents.changes` says what each is.

Only `agents.executor` calls `run`, and only after `authorize()`. Agents hold no way to get here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from agents.changes.containers import RESTART, START, STOP, container_state
from agents.changes.maintenance import MAINTENANCE
from agents.changes.silence import SILENCE
from agents.changes.spec import ActionSpec, StatusClass, Stopper, TargetState
from agents.models import Action, ActionKind
from agents.tools.base import ToolError
from incidents.models import Target

SPECS: dict[str, ActionSpec] = {
    ActionKind.RESTART_CONTAINER: RESTART,
    ActionKind.START_CONTAINER: START,
    ActionKind.STOP_CONTAINER: STOP,
    ActionKind.CREATE_SILENCE: SILENCE,
    ActionKind.RUN_MAINTENANCE: MAINTENANCE,
}


def spec_of(action: Action) -> ActionSpec:
    return SPECS[action.kind]


def prepared(action: Action, given: Mapping[str, Any]) -> dict[str, Any]:
    """The whole arguments of an action, checked, from what an agent gave; ToolError."""
    spec = spec_of(action)
    if not spec.fits(action.target):
        raise ToolError(f"there is no such change of {action.target.key} here")
    return spec.checked(spec.prepare(action, given))


def checked(action: Action) -> None:
    """ToolError unless a stored action's arguments still have their form."""
    if spec_of(action).checked(action.arguments) != action.arguments:
        raise ToolError("its arguments are not as they were proposed")


def dry_run(action: Action) -> str:
    """What it would touch, in words: `restarts docker:nas/web, ...`."""
    try:
        return spec_of(action).touches(action)
    except ToolError as error:
        return f"touches {action.target.key}, and what else cannot be read: {error}"


def digest(kind: str, target: Target, arguments: dict[str, Any], state: TargetState) -> str:
    """What an approval approves: no counters and no times are in it."""
    approved = [kind, target.key, arguments, state.approved_part()]
    return hashlib.sha256(json.dumps(approved, sort_keys=True).encode()).hexdigest()


__all__ = [
    "SPECS",
    "ActionSpec",
    "StatusClass",
    "Stopper",
    "TargetState",
    "checked",
    "container_state",
    "digest",
    "dry_run",
    "prepared",
    "spec_of",
]
