"""What the Healer may propose: the kinds of change that there are for a target here, and no other words.

A narrower form makes a shorter prompt and a better answer. It is no guard: another kind is understood,
too, and refused with its reason.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any

from django.conf import settings
from pydantic import Field, WithJsonSchema, create_model
from pydantic.json_schema import SkipJsonSchema

from agents.actions import SPECS
from agents.answers import Kind, Remediation
from agents.changes.maintenance import declared_for
from agents.kinds import ActionKind
from agents.maintenance import Maintenance
from incidents.models import Target

# Fields that a narrowed form does not show.
NoNumber = SkipJsonSchema[int | None]
NoText = SkipJsonSchema[str | None]
NoTexts = SkipJsonSchema[list[str]]
MOST_MAINTENANCE = 6  # told of; of more, the first in the owner's file


def kinds_for(target: Target | None) -> tuple[ActionKind, ...]:
    """The kinds of change of a target that are not switched off."""
    if target is None:
        return ()
    return tuple(
        ActionKind(kind)
        for kind, spec in SPECS.items()
        if spec.fits(target) and settings.REMEDIATION_ACTIONS.get(kind) != "off"
    )


def form(target: Target | None) -> type[Remediation]:
    """The Healer's answer about a target."""
    kinds = kinds_for(target)
    entries = declared_for(target) if target and ActionKind.RUN_MAINTENANCE in kinds else []
    return _form(kinds, tuple(_said(each) for each in entries[:MOST_MAINTENANCE]))


@functools.lru_cache(maxsize=64)
def _form(kinds: tuple[ActionKind, ...], maintenance: tuple[str, ...]) -> type[Remediation]:
    named = WithJsonSchema({"type": "string", "enum": [*(kind.value for kind in kinds), "none"]})
    narrowed: dict[str, Any] = {"action": (Annotated[Kind, named], ...)}
    if ActionKind.CREATE_SILENCE not in kinds:
        narrowed["minutes"] = (NoNumber, None)
    if maintenance:
        known = Field(default=None, max_length=60, description=f"One of: {'; '.join(maintenance)}")
        narrowed["maintenance"] = (str | None, known)
    else:
        narrowed["maintenance"] = (NoText, None)
        narrowed["parameters"] = (NoTexts, Field(default_factory=list))
    made: type[Remediation] = create_model(
        Remediation.__name__, __base__=Remediation, __doc__=Remediation.__doc__, **narrowed
    )
    return made


def _said(entry: Maintenance) -> str:
    """`prune (days 1-30, depth shallow|deep): removes images that no container uses`."""
    takes = [
        f"{name} {each.min}-{each.max}" if each.type == "integer" else f"{name} {'|'.join(each.choices)}"
        for name, each in entry.parameters.items()
        if each.type != "target_name"
    ]
    shown = f" ({', '.join(takes)})" if takes else ""
    return f"{entry.name}{shown}: {entry.description}"
