"""What `authorize()` would say of each kind of change of a target, if a firing alert were about it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.actions import SPECS, TargetState, container_state
from agents.changes.maintenance import declared_for
from agents.changes.spec import plain_state
from agents.kinds import ActionKind
from agents.models import Action, Autonomy
from agents.policy import authorize
from agents.reading import ExpressionState
from agents.rules import Decision, Reason
from agents.tools.base import ToolError
from incidents.models import Target

WOULD = {"allow": "would do it without asking", "ask": "would ask", "refuse": "would refuse"}
ASSUMED = "that an alert of the incident names the target, and that its fault is still there"
CANDIDATES = 8


@dataclass(frozen=True)
class Answer:
    """`depends_on`: what only an incident tells, in words; it was taken to be in favour."""

    kind: ActionKind
    target: Target
    decision: Decision
    depends_on: tuple[str, ...]

    @property
    def text(self) -> str:
        """`would ask, because REMEDIATION_MODE is approve; somebody stopped it by hand`."""
        why = self.decision.text  # of what decides it; what would ask besides a refusal is in the JSON
        return WOULD[self.decision.effect] + (f", because {why}" if why else "")

    def as_json(self) -> dict[str, Any]:
        return {
            "action": self.kind.value,
            "effect": self.decision.effect,
            "reasons": self.decision.as_json(),
            "depends_on": list(self.depends_on),
        }


def answers(target: Target, kinds: Sequence[ActionKind] = tuple(ActionKind)) -> list[Answer]:
    """One for each kind. The target's engine is asked for its state now; nothing is changed or written."""
    state = _state(target)
    return [_answer(target, kind, state) for kind in kinds]


def candidates(name: str) -> list[str]:
    """Keys of the inventory that somebody may have meant."""
    keys = list(Target.objects.filter(gone_at=None).order_by("key").values_list("key", flat=True))
    part = name.lower()
    alike = [key for key in keys if part in key.lower()]
    return (alike or difflib.get_close_matches(name, keys, n=CANDIDATES, cutoff=0.5))[:CANDIDATES]


def _state(target: Target) -> TargetState | str:
    if target.kind != "docker" or target.gone_at is not None:
        return plain_state(target, "")
    try:
        return container_state(target)
    except ToolError as error:
        return str(error)


def _answer(target: Target, kind: ActionKind, state: TargetState | str) -> Answer:
    if isinstance(state, str):
        if SPECS[kind].fits(target) and kind.mends:
            reason = Reason("refuse", "unread", f"its state cannot be read: {state}")
            return Answer(kind, target, Decision("refuse", (reason,)), ())
        state = plain_state(target, "")
    elif not kind.mends:
        state = plain_state(target, "")
    decision = authorize(
        Action(kind=kind, target=target, host=target.host),
        state=state,
        fault=ExpressionState.FIRING,
        fault_reason="",
        approved=False,
    )
    depends = () if decision.effect == "refuse" else (ASSUMED, *_details(target, kind))
    return Answer(kind, target, decision, depends)


def _details(target: Target, kind: ActionKind) -> list[str]:
    found = []
    if kind == ActionKind.RUN_MAINTENANCE:
        found.append(f"which is run: {', '.join(each.name for each in declared_for(target))}")
    if kind == ActionKind.CREATE_SILENCE:
        found.append("that Alertmanager lists the alert as active")
    pairs = Autonomy.objects.filter(kind=kind, target_kind=target.kind).order_by("alert_name")
    if alone := [pair.alert_name for pair in pairs if pair.is_alone]:
        found.append(f"which alert it is: for {', '.join(alone)} it need not ask")
    if lowered := [pair.alert_name for pair in pairs if pair.is_lowered]:
        found.append(f"which alert it is: for {', '.join(lowered)} it asks in any mode")
    return found
