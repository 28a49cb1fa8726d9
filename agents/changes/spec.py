"""What a kind of change is: where it applies, what it takes, how it is done, how its effect is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.models import Action
from agents.tools.base import ToolError
from incidents.models import Target

StatusClass = Literal["running", "paused", "stopped", "other"]  # "other": it is no container
Stopper = Literal["person", "crash", "unknown"]


@dataclass(frozen=True)
class TargetState:
    """What a target is right now. `identity`, `image` and `status_class` are what an approval is bound to.

    `read_at`: when it was read, by the engine's clock; None when the engine does not say what time it is.
    `restarting`: it ends and is started by its policy again and again.
    """

    identity: str
    image: str
    status_class: StatusClass
    labels: dict[str, str]
    stopped_by: Stopper | None
    stopped_at: str | None
    started_at: str | None
    read_at: float | None = None
    restarting: bool = False

    def approved_part(self) -> dict[str, str]:
        return {"identity": self.identity, "image": self.image, "status_class": self.status_class}


class Arguments(BaseModel):
    """What a kind of change takes; here nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_given(action: Action, given: Mapping[str, Any]) -> dict[str, Any]:
    return dict(given)


@dataclass(frozen=True)
class ActionSpec:
    """One kind of change. Its functions are given the action, with its target and its arguments.

    `fits`: whether it exists for a target here. `prepare` makes the arguments from what an agent gave, whole:
    nothing is left to be looked up when they are approved. `run` says what came of it. `happened` is given
    the snapshot of the state just before, and says None when nobody can know. What is changed may be at it
    for `under_way` seconds after the beginning, though nobody listens any more. `touches` is the dry run: it
    reads the world and changes nothing. All raise ToolError.
    """

    fits: Callable[[Target], bool]
    state: Callable[[Action], TargetState]
    run: Callable[[Action], str | None]
    happened: Callable[[Action, dict[str, Any]], bool | None]
    under_way: Callable[[Action], float]
    evidence: Callable[[Action], dict[str, Any]]
    touches: Callable[[Action], str]
    arguments: type[Arguments] = Arguments
    prepare: Callable[[Action, Mapping[str, Any]], dict[str, Any]] = _as_given

    def checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, if they fit their form, as they are kept; else ToolError."""
        try:
            return self.arguments.model_validate(dict(arguments)).model_dump(mode="json")
        except ValidationError as error:
            problems = (
                f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}" for each in error.errors()
            )
            raise ToolError(f"wrong arguments: {'; '.join(problems)}") from error


def plain_state(target: Target, identity: str) -> TargetState:
    """Of a target that has no engine to ask, or that is not touched itself: what the inventory knows."""
    labels = {str(name): str(each) for name, each in target.facts.get("labels", {}).items()}
    return TargetState(identity, "", "other", labels, None, None, None)
