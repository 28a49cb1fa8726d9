"""What a tool is: a typed function with a docstring. Its schema comes from its signature.

A tool file registers an `Integration` and decorates its functions. Only configured integrations' tools
are offered. Every tool here reads; changes to the world are `agents.actions`, behind `authorize()`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from agents.schemas import schema_of

Query = Annotated[str | None, Field(description="What to look for; the alert itself when left out")]


class ToolError(Exception):
    """A tool could not answer; the text is for the agent. `retryable`: the same call may work later.

    `unanswered`: a request went out and nobody heard its answer, so what it asked for may happen.
    """

    def __init__(self, message: str, *, retryable: bool = False, unanswered: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.unanswered = unanswered


class MalformedCall(ToolError):
    """There is no such tool, or its arguments are wrong: the caller's mistake."""


@dataclass(frozen=True)
class Case:
    """What the crew is told about an incident. Labels and annotations are untrusted text."""

    incident_id: int
    alert_name: str
    severity: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    source: str = "alertmanager"
    expression: str | None = None
    measure: str | None = None  # what the expression compares with a number
    prometheus_of_alert: str | None = None
    target: str | None = None  # inventory key, `docker:host/name`
    target_kind: str | None = None
    candidates: tuple[str, ...] = ()  # inventory keys, when the labels fit more than one

    @property
    def words(self) -> tuple[str, ...]:
        """What the alert says of itself to people."""
        return self.alert_name, *self.annotations.values()


@dataclass(frozen=True)
class Result:
    """A tool's answer: `text` is what agents read and quote, `data` the same as JSON for playbooks."""

    text: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """A line of `doctor`. `ok` is None when the integration is not configured."""

    ok: bool | None
    detail: str
    version: str | None = None


@dataclass(frozen=True)
class Integration:
    name: str
    configured: Callable[[], bool]
    check: Callable[[], Health]
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    integration: Integration
    arguments: type[BaseModel]
    function: Callable[..., Result]
    # words of an alert (its name, expression, labels) that make this tool relevant
    topics: tuple[str, ...] = ()
    always: bool = False  # offered for every alert

    @property
    def schema(self) -> Mapping[str, Any]:
        """JSON schema of the arguments."""
        return schema_of(self.arguments)

    def call(self, case: Case, arguments: Mapping[str, Any]) -> Result:
        """Run with checked arguments; ToolError when they are wrong or the tool cannot answer."""
        checked = self.checked(arguments)
        return self.function(case, **{name: getattr(checked, name) for name in type(checked).model_fields})

    def checked(self, arguments: Mapping[str, Any]) -> BaseModel:
        """The arguments with their defaults; ToolError when they are wrong."""
        try:
            return self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}" for each in error.errors()
            )
            raise MalformedCall(f"wrong arguments for {self.name}: {problems}") from error


def _arguments_model(function: Callable[..., Result]) -> type[BaseModel]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    return create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)


REGISTRY: dict[str, Tool] = {}
INTEGRATIONS: dict[str, Integration] = {}


def register(integration: Integration) -> Integration:
    INTEGRATIONS[integration.name] = integration
    return integration


def tool(
    integration: Integration, *, topics: tuple[str, ...] = (), always: bool = False
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Register a function `(case, *, argument…) -> Result` as a reading tool."""

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        REGISTRY[function.__name__] = Tool(
            name=function.__name__,
            description=inspect.cleandoc(function.__doc__ or ""),
            integration=integration,
            arguments=_arguments_model(function),
            function=function,
            topics=topics,
            always=always,
        )
        return function

    return decorate


def available() -> list[Tool]:
    """The tools of configured integrations, in a fixed order."""
    return [each for each in REGISTRY.values() if each.integration.configured()]


__all__ = [
    "INTEGRATIONS",
    "REGISTRY",
    "Case",
    "Health",
    "Integration",
    "MalformedCall",
    "Result",
    "Tool",
    "ToolError",
    "available",
    "register",
    "tool",
]
