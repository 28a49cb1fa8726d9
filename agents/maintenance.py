"""Maintenance that the owner declared in MAINTENANCE_FILE: named, typed, an argument list. No Django here.

    - name: prune-images                    # unique
      description: Removes images that no container uses.
      targets: ["docker:nas/*"]             # inventory keys, or patterns of them
      command: [/usr/local/bin/prune, "--keep-days={days}", "{container}"]
      parameters:
        days: {type: integer, min: 1, max: 30}
        depth: {type: choice, choices: [shallow, deep]}
        container: {type: target_name}      # the target's own name, which nobody else chooses
      timeout_seconds: 60                   # at most 90
      dry_run: [/usr/local/bin/prune, "--dry-run", "--keep-days={days}"]    # left out: nothing is asked
      check: [/usr/local/bin/prune, "--is-pruned"]                          # exit code 0: it was done

`{name}` stands for a parameter wherever it is written; values are put in once, and each argument stays one.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_SECONDS = 90  # with the looks before and after it, less than a task may take
PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
NAME = r"^[a-z0-9][a-z0-9_-]{0,59}$"
# What a container's or a host's name is made of; a label of an alert may say anything.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
SHELLS = frozenset({"sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "tcsh", "zsh"})
Argv = tuple[str, ...]


class BadValue(ValueError):
    """A parameter got a value that its declaration does not allow; the message says which and why."""


class Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parameter(Declared):
    """What may take a parameter's place."""

    type: Literal["integer", "choice", "target_name"]
    min: int | None = None
    max: int | None = None
    choices: tuple[str, ...] = ()

    @model_validator(mode="after")
    def is_whole(self) -> Parameter:
        bounded = self.min is not None and self.max is not None and self.min <= self.max
        if self.type == "integer" and not bounded:
            raise ValueError("an integer wants min and max")
        if self.type != "integer" and (self.min is not None or self.max is not None):
            raise ValueError("min and max are for an integer")
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("a choice, and nothing else, wants choices")
        return self

    def extremes(self) -> tuple[str, ...]:
        """Every value that could be trouble where it begins an argument."""
        return (str(self.min),) if self.type == "integer" else self.choices

    def text(self, name: str, given: Any, target_name: str) -> str:
        """The value as it is put into an argument; BadValue."""
        if self.type == "target_name":
            if given not in (None, target_name):
                raise BadValue(f"{name}: is the target's own name, {target_name!r}, not {given!r}")
            if not SAFE_NAME.fullmatch(target_name):
                raise BadValue(f"{name}: the target's name {target_name!r} is no name for an argument")
            return target_name
        if given is None:
            raise BadValue(f"{name}: is missing")
        if self.type == "choice":
            if given not in self.choices:
                raise BadValue(f"{name}: {given!r} is none of {', '.join(self.choices)}")
            return str(given)
        return str(self._integer(name, given))

    def _integer(self, name: str, given: Any) -> int:
        assert self.min is not None
        assert self.max is not None
        if isinstance(given, bool) or not re.fullmatch(r"-?[0-9]{1,18}", str(given), re.ASCII):
            raise BadValue(f"{name}: {given!r} is no integer")
        if not self.min <= int(given) <= self.max:
            raise BadValue(f"{name}: {given} is not from {self.min} to {self.max}")
        return int(given)


class Maintenance(Declared):
    """One entry of the file. Programs are absolute once it is read."""

    name: str = Field(pattern=NAME)
    description: str = Field(min_length=1, max_length=300)
    targets: tuple[str, ...] = Field(min_length=1)
    command: Argv = Field(min_length=1)
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    timeout_seconds: int = Field(default=60, ge=1, le=MAX_SECONDS)
    dry_run: Argv | None = Field(default=None, min_length=1)
    check: Argv | None = Field(default=None, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def finds_programs(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        lists = {name: given[name] for name in ("command", "dry_run", "check") if _is_argv(given.get(name))}
        return {**given, **{name: [_program(argv[0]), *argv[1:]] for name, argv in lists.items()}}

    @model_validator(mode="after")
    def is_whole(self) -> Maintenance:
        used = {name for argv in self.lists() for each in argv for name in PLACE.findall(each)}
        if unknown := used - set(self.parameters):
            raise ValueError(f"no parameter is named {', '.join(sorted(unknown))}")
        if unused := set(self.parameters) - used:
            raise ValueError(f"nothing uses the parameter {', '.join(sorted(unused))}")
        for argv in self.lists():
            _check_argv(argv, self.parameters)
        return self

    def lists(self) -> Iterator[Argv]:
        yield from (argv for argv in (self.command, self.dry_run, self.check) if argv)

    def fits(self, key: str) -> bool:
        """Whether it was declared for the target of that inventory key."""
        return any(fnmatch.fnmatchcase(key, pattern) for pattern in self.targets)

    def values(self, given: Mapping[str, Any], target_name: str) -> dict[str, str]:
        """The parameters' values as text; BadValue."""
        if unknown := set(given) - set(self.parameters):
            raise BadValue(f"no parameter is named {', '.join(sorted(unknown))}")
        return {name: each.text(name, given.get(name), target_name) for name, each in self.parameters.items()}


def filled(argv: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The argument list with its values; what a value contains is not looked at again. BadValue."""
    found = [PLACE.sub(lambda place: values[place[1]], each) for each in argv]
    for written, each in zip(argv, found, strict=True):
        if each.startswith("-") and not written.startswith("-"):
            raise BadValue(f"{each!r} would be read as an option")
    return found


def load(path: Path) -> tuple[Maintenance, ...]:
    """The entries of a file; ValueError that names the entry."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if not isinstance(entries, list):
        raise ValueError(f"{path}: wants a list of entries")
    found: dict[str, Maintenance] = {}
    for number, entry in enumerate(entries, start=1):
        said = entry.get("name") if isinstance(entry, dict) else None
        where = f"{path}: entry {number} ({said})"
        try:
            made = Maintenance.model_validate(entry)
        except ValidationError as error:
            problems = (
                f"{'.'.join(map(str, each['loc'])) or 'entry'}: {each['msg']}" for each in error.errors()
            )
            raise ValueError(f"{where}: {'; '.join(problems)}") from error
        if made.name in found:
            raise ValueError(f"{where}: there is another of that name")
        found[made.name] = made
    return tuple(found.values())


def _is_argv(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(isinstance(each, str) for each in given)


def _program(name: str) -> str:
    """Where the program is: found now, so that what runs later is no other of its name."""
    found = shutil.which(name)
    if found is None or PLACE.search(name):
        raise ValueError(f"there is no program {name!r}")
    return str(Path(found).absolute())


def _check_argv(argv: Argv, parameters: Mapping[str, Parameter]) -> None:
    if Path(argv[0]).name in SHELLS and any(re.match(r"-\w*c", each) for each in argv[1:]):
        raise ValueError(f"{argv[0]} -c takes a shell string: name the program and its arguments")
    for each in argv:
        if "\0" in each:
            raise ValueError("an argument holds a zero byte")
        first = PLACE.match(each)
        values = parameters[first[1]].extremes() if first else ()
        if any(value.startswith("-") for value in values):
            raise ValueError(f"{each!r}: a value that begins with - would be read as an option")
