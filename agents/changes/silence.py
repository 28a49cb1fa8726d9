"""A silence in Alertmanager for one alert, with an end. It mends nothing, and its incident is watched on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from pydantic import Field, field_validator

from agents import cases
from agents.changes.spec import ActionSpec, Arguments, TargetState, plain_state
from agents.models import Action
from agents.tools import alertmanager
from agents.tools.base import ToolError
from agents.tools.http import DEADLINE
from agents.tools.text import one_line
from incidents.alertmanager import label_fingerprint

DEFAULT_MINUTES = 60
NAMES_SHOWN = 5


class Silence(Arguments):
    """`labels` are all those of the alert, so no other alert is hidden but one that has them, too."""

    minutes: int = Field(ge=1)
    labels: dict[str, str]

    @field_validator("minutes")
    @classmethod
    def not_for_long(cls, minutes: int) -> int:
        if minutes > settings.SILENCE_MAX_MINUTES:
            raise ValueError(f"at most {settings.SILENCE_MAX_MINUTES} (SILENCE_MAX_MINUTES)")
        return minutes

    @field_validator("labels")
    @classmethod
    def of_one_rule(cls, labels: dict[str, str]) -> dict[str, str]:
        if not labels.get("alertname"):
            raise ValueError("a silence names its alert")
        return labels


def _prepare(action: Action, given: Mapping[str, Any]) -> dict[str, Any]:
    """The labels are those of the incident's own alert about the target; nobody gives others."""
    if unknown := set(given) - {"minutes"}:
        raise ToolError(f"wrong arguments: a silence takes minutes, not {', '.join(sorted(unknown))}")
    episode = cases.first_episode(action.incident, action.target)
    if episode is None or episode.target_id != action.target_id or episode.ends_at is not None:
        raise ToolError(f"no alert of this incident about {action.target.key} is firing")
    minutes = given.get("minutes")
    if minutes is None:
        minutes = min(DEFAULT_MINUTES, settings.SILENCE_MAX_MINUTES)
    return {"minutes": minutes, "labels": dict(episode.labels)}


def _state(action: Action) -> TargetState:
    """What is approved is the silence of one alert, as long as Alertmanager has it as active."""
    labels = action.arguments["labels"]
    if not any(dict(each.labels) == labels for each in alertmanager.alerts_with(labels)):
        raise ToolError("Alertmanager has no active alert with these labels, or it is silenced already")
    return plain_state(action.target, f"alert {label_fingerprint(labels)}")


def _run(action: Action) -> str:
    starts = timezone.now()
    ends = starts + timedelta(minutes=action.arguments["minutes"])
    labels = action.arguments["labels"]
    name = alertmanager.create_silence(labels, starts=starts, ends=ends, comment=_comment(action))
    return f"silence {name} until {ends:%Y-%m-%d %H:%M} UTC"


def _comment(action: Action) -> str:
    """No other silence has it, also not of a database that counted from 1 before this one."""
    return f"homelab: incident #{action.incident_id}, action {action.pk} of {action.proposed_at.isoformat()}"


def _happened(action: Action, before: dict[str, Any]) -> bool | None:
    try:
        return alertmanager.has_silence(_comment(action))
    except ToolError:
        return None


def _touches(action: Action) -> str:
    labels, minutes = action.arguments["labels"], action.arguments["minutes"]
    matching = alertmanager.alerts_with(labels)
    shown = ", ".join(one_line(_said(each.labels)) for each in matching[:NAMES_SHOWN])
    rest = f" and {len(matching) - NAMES_SHOWN} more" if len(matching) > NAMES_SHOWN else ""
    return (
        f"silences alerts that have all of {one_line(_said(labels))} in Alertmanager for {minutes} min from "
        f"then on; now these are {len(matching)}: {shown}{rest}. It mends nothing; the incident stays open"
    )


def _said(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


SILENCE = ActionSpec(
    fits=lambda target: settings.ALERTMANAGER_URL is not None and target.gone_at is None,
    state=_state,
    run=_run,
    happened=_happened,
    under_way=lambda action: DEADLINE,
    evidence=lambda action: {"silenced": action.arguments["labels"]},
    touches=_touches,
    arguments=Silence,
    prepare=_prepare,
)
