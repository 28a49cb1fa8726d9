"""Playbooks: what to read for an alert, and what the readings mean. One YAML file each.

    name: container_exited          # unique
    title: Container exited
    order: 20                       # the smaller is tried first
    match:                          # each line that is there must hold; none: it fits every alert
      target_kind: docker
      alert: "(?i)containerdown"    # regular expressions, searched
      expression: "container_last_seen"
      labels: {job: "^cadvisor$"}
      any: true                     # one line that holds is enough
    read:                           # tools, their arguments as templates, and a name when one is used twice
      - {tool: docker_inspect, with: {container: "{case.target}"}}
    causes:                         # the first whose conditions hold is the diagnosis
      - name: crashed
        when: {docker_inspect.status: exited, docker_inspect.exit_code: {not: 0}}
        cause: "{case.target} exited with code {docker_inspect.exit_code}."
        certainty: CONFIRMED
        claims:
          - {text: "The exit code", read: docker_inspect, pattern: "^exit_code: .*$"}
        action: restart_container   # left out: no action
        why: "A restart is the least disruptive repair."
        advice: "What a person can do when there is no action."

Templates: {case.target}, {label.instance}, {docker_inspect.exit_code}, {disk.series.0.last}; {label.job!q} is
quoted as PromQL wants it. A read whose template names something unknown is left out.

A condition is a value, a list of values, or one of {not: x}, {in: [..]}, {gt: n}, {lt: n}, {match: regex},
{known: true|false}. A value that a tool did not give is unknown, and meets no condition but `known: false`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from agents.answers import Certainty
from agents.loop import Observation
from agents.promql import quote
from agents.tools.base import Case

FOLDER = Path(__file__).parent
MAX_QUOTE = 500
MIN_QUOTE = 4
PLACE = re.compile(r"\{([\w.]+)(!q)?\}")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Read:
    """A tool call with its arguments filled in."""

    name: str
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What is known: the case, and the observations of one investigation."""

    case: Case
    observations: Sequence[Observation]

    def observation(self, read: Read) -> Observation | None:
        for each in self.observations:
            if each.request.tool == read.tool and dict(each.request.arguments or {}) == read.arguments:
                return each
        return None


@dataclass(frozen=True)
class View:
    """The readings of one playbook by their names, for conditions, templates and quotes."""

    case: Case
    by_name: Mapping[str, Observation]

    def value(self, path: str) -> Any:
        """`docker_inspect.exit_code`, `case.target`, `label.instance`; None when it is not known."""
        first, *rest = path.split(".")
        if first == "case":
            return getattr(self.case, rest[0], None)
        if first == "label":
            return self.case.labels.get(".".join(rest))
        observation = self.by_name.get(first)
        value: Any = observation.data if observation else None
        for key in rest:
            value = _member(value, key)
        return value

    def fill(self, template: str) -> str:
        return PLACE.sub(lambda found: _as_text(self.value(found[1]), quoted=bool(found[2])), template)


def _member(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, list) and key.isdigit() and int(key) < len(value):
        return value[int(key)]
    return None


def _as_text(value: Any, *, quoted: bool) -> str:
    text = _words(value)
    return quote(text) if quoted else text


def _words(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


class ReadSpec(Part):
    tool: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    name: str = ""

    def filled(self, case: Case) -> Read | None:
        """None when the case lacks what the arguments need."""
        view = View(case, {})
        arguments: dict[str, Any] = {}
        for key, value in self.with_.items():
            places = PLACE.findall(value) if isinstance(value, str) else []
            if any(view.value(name) is None for name, _ in places):
                return None
            arguments[key] = view.fill(value) if places else value
        return Read(self.name or self.tool, self.tool, arguments)


class ClaimSpec(Part):
    text: str
    read: str
    pattern: str

    @field_validator("pattern")
    @classmethod
    def compiles(cls, pattern: str) -> str:
        re.compile(pattern)
        return pattern

    def quote(self, view: View) -> dict[str, str] | None:
        """The claim with the first piece of the reading that fits; None when nothing fits."""
        observation = view.by_name.get(self.read)
        found = re.search(self.pattern, observation.full, re.MULTILINE) if observation else None
        if observation is None or found is None:
            return None
        quote = _cut(found[0].strip())
        if len(quote) < MIN_QUOTE:
            return None
        return {"text": view.fill(self.text), "call_id": observation.request.id, "quote": quote}


def _cut(quote: str) -> str:
    """Not longer than a quote may be, and no word cut in two."""
    if len(quote) <= MAX_QUOTE:
        return quote
    return re.sub(r"\w*$", "", quote[: MAX_QUOTE + 1])[:MAX_QUOTE] or quote[:MAX_QUOTE]


class Cause(Part):
    name: str
    when: dict[str, Any] = Field(default_factory=dict)
    cause: str
    certainty: Certainty
    claims: tuple[ClaimSpec, ...] = ()
    action: str | None = None
    why: str = ""
    advice: str = ""


class Match(Part):
    target_kind: str | None = None
    alert: str | None = None
    expression: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    any: bool = False

    def fits(self, case: Case) -> bool:
        tests = [
            pattern is not None and value is not None and re.search(pattern, value) is not None
            for pattern, value in (
                (self.alert, case.alert_name),
                (self.expression, case.expression),
                *((pattern, case.labels.get(label)) for label, pattern in self.labels.items()),
            )
            if pattern is not None
        ]
        if self.target_kind is not None:
            tests.append(case.target_kind == self.target_kind)
        return (any(tests) if self.any else all(tests)) if tests else True


class Playbook(Part):
    name: str
    title: str
    order: int
    match: Match = Match()
    read: tuple[ReadSpec, ...] = ()
    causes: tuple[Cause, ...]

    def reads(self, case: Case) -> list[Read]:
        return [filled for spec in self.read if (filled := spec.filled(case)) is not None]

    def view(self, found: Found) -> View:
        seen = {read.name: found.observation(read) for read in self.reads(found.case)}
        return View(found.case, {name: each for name, each in seen.items() if each is not None})

    def diagnose(self, found: Found) -> dict[str, Any] | None:
        """The fields of a Diagnosis by the first cause that holds; None when none does."""
        view = self.view(found)
        for cause in self.causes:
            if all(meets(view.value(path), condition) for path, condition in cause.when.items()):
                claims = [claim for spec in cause.claims if (claim := spec.quote(view)) is not None]
                return {
                    "cause": view.fill(cause.cause),
                    "certainty": cause.certainty,
                    "claims": claims,
                    "code": f"{self.name}.{cause.name}",
                }
        return None


def meets(value: Any, condition: Any) -> bool:
    """Whether a reading meets a condition of `when`; an unknown value meets none but `known: false`."""
    if isinstance(condition, Mapping) and "known" in condition:
        return (value is not None) is bool(condition["known"])
    if value is None:
        return False
    if not isinstance(condition, Mapping):
        return value in condition if isinstance(condition, list) else bool(value == condition)
    return all(TESTS[test](value, wanted) for test, wanted in condition.items())


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _greater(value: Any, wanted: float) -> bool:
    number = _number(value)
    return number is not None and number > wanted


def _less(value: Any, wanted: float) -> bool:
    number = _number(value)
    return number is not None and number < wanted


TESTS: dict[str, Any] = {
    "not": lambda value, wanted: value not in wanted if isinstance(wanted, list) else value != wanted,
    "in": lambda value, wanted: value in wanted,
    "gt": _greater,
    "lt": _less,
    "match": lambda value, wanted: re.search(wanted, str(value)) is not None,
}


@functools.cache
def load() -> tuple[Playbook, ...]:
    """Every playbook, in the order in which they are tried; a broken file raises with its name."""
    books = []
    for path in sorted(FOLDER.glob("*.yml")):
        try:
            books.append(Playbook.model_validate(yaml.safe_load(path.read_text())))
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"playbook {path.name}: {error}") from error
    return tuple(sorted(books, key=lambda book: (book.order, book.name)))


def fitting(case: Case) -> list[Playbook]:
    return [book for book in load() if book.match.fits(case)]


def cause_by_code(code: str) -> Cause | None:
    """A cause by the code that a diagnosis carries, `playbook.cause`."""
    name, _, cause_name = code.partition(".")
    for book in load():
        if book.name == name:
            return next((cause for cause in book.causes if cause.name == cause_name), None)
    return None
