"""A maintenance action of the owner's own list, run on the machine of the worker."""

from __future__ import annotations

import hashlib
import json
import shlex
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.conf import settings
from pydantic import Field, ValidationError

from agents.changes import process
from agents.changes.containers import KIND, container_evidence, container_state
from agents.changes.spec import ActionSpec, Arguments, TargetState, plain_state
from agents.maintenance import BadValue, Maintenance, filled
from agents.models import Action
from agents.tools.base import ToolError
from incidents.models import Target
from incidents.redaction import clean

LOOK_SECONDS = 20.0  # for a dry run or a check


class Given(Arguments):
    """What an agent says: which one, and its parameters."""

    name: str = Field(max_length=60)
    parameters: dict[str, str | int] = Field(default_factory=dict)


class Wanted(Arguments):
    """`argv` is exactly what is run; so what is approved is that, whatever the file says later."""

    name: str
    parameters: dict[str, str]
    argv: list[str] = Field(min_length=1)


def declared_for(target: Target) -> list[Maintenance]:
    """The owner's entries for a target."""
    return [each for each in settings.MAINTENANCE if each.fits(target.key)]


def _entry(name: str, target: Target) -> Maintenance:
    for each in declared_for(target):
        if each.name == name:
            return each
    known = ", ".join(each.name for each in declared_for(target)) or "none"
    raise ToolError(f"no maintenance {name!r} is declared for {target.key}; declared: {known}")


def _prepare(action: Action, given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        said = Given.model_validate(dict(given))
        entry = _entry(said.name, action.target)
        values = entry.values(said.parameters, action.target.name)
        for argv in entry.lists():
            filled(argv, values)
        return {"name": entry.name, "parameters": values, "argv": filled(entry.command, values)}
    except (ValidationError, BadValue) as error:
        raise ToolError(f"wrong arguments: {error}") from error


def _still_declared(action: Action) -> Maintenance:
    """The entry, when it would still run what was proposed; else ToolError."""
    entry = _entry(action.arguments["name"], action.target)
    try:
        argv = filled(entry.command, entry.values(action.arguments["parameters"], action.target.name))
    except BadValue as error:
        raise ToolError(f"{entry.name} is declared otherwise by now: {error}") from error
    if argv != action.arguments["argv"]:
        raise ToolError(f"{entry.name} is declared otherwise by now")
    return entry


def _state(action: Action) -> TargetState:
    """The target's, and what would be run: another program of that name is another thing to approve."""
    entry = _still_declared(action)
    command = json.dumps([action.arguments["argv"], entry.check, entry.timeout_seconds])
    run = hashlib.sha256(command.encode()).hexdigest()[:12]
    if action.target.kind != KIND:
        return plain_state(action.target, f"maintenance {run}")
    state = container_state(action.target)
    return replace(state, identity=f"{state.identity} maintenance {run}")


def _run(action: Action) -> str:
    entry = _still_declared(action)
    ran = process.run(action.arguments["argv"], seconds=entry.timeout_seconds)
    said = f"exit code {ran.code}" + (f"\n{ran.output}" if ran.output else "")
    if ran.code != 0:
        raise ToolError(said)
    try:
        was_done = _checked(action, entry)
    except ToolError as error:
        return f"{said}\nits check could not be made: {error}"
    if was_done is False:
        raise ToolError(f"its check says that it was not done; {said}")
    return said


def _checked(action: Action, entry: Maintenance) -> bool | None:
    """What the entry's own check says; None without one."""
    if entry.check is None:
        return None
    argv = filled(entry.check, action.arguments["parameters"])
    return process.run(argv, seconds=LOOK_SECONDS).code == 0


def _happened(action: Action, before: dict[str, Any]) -> bool | None:
    try:
        return _checked(action, _still_declared(action)) or None
    except ToolError:
        return None


def _under_way(action: Action) -> float:
    try:
        return _entry(action.arguments["name"], action.target).timeout_seconds + LOOK_SECONDS
    except ToolError:
        return 0.0  # it is declared no longer, and its worker was ended to read that


def _touches(action: Action) -> str:
    entry = _still_declared(action)
    here = socket.gethostname()
    where = f"on the worker's machine (this is {here}), for at most {entry.timeout_seconds} s"
    text = f"runs {shlex.join(action.arguments['argv'])} {where}: {entry.description}"
    if entry.dry_run is None:
        return f"{text} (it declares no dry run)"
    ran = process.run(filled(entry.dry_run, action.arguments["parameters"]), seconds=LOOK_SECONDS)
    return f"{text} Its dry run says (exit code {ran.code}): {clean(ran.output) or 'nothing'}"


MAINTENANCE = ActionSpec(
    fits=lambda target: target.gone_at is None and bool(declared_for(target)),
    state=_state,
    run=_run,
    happened=_happened,
    under_way=_under_way,
    evidence=lambda action: container_evidence(action) if action.target.kind == KIND else {},
    touches=_touches,
    arguments=Wanted,
    prepare=_prepare,
)
