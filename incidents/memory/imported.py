"""Incidents of the program before this one, as its collection `agent_memory` in Qdrant holds them.

What it says of an end is hearsay: it stored "resolved" for whatever text had these letters in it, and its
cause and remediation are pieces of a report. So all of it is kept as told, and as unproven.
"""

from __future__ import annotations

import ast
import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, ValidationInfo, field_validator

from incidents.memory.keep import Given
from incidents.models import MemoryEntry

LONGEST_TEXT = 4000
MOST_SYSTEMS = 50
LONGEST_NAME = 300


class BadPoint(ValueError):
    """A point that cannot be taken over; the message says which field, and why."""


def _words(value: Any) -> Any:
    """Text without blanks around it; a list of texts as lines; None for what is empty."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = "\n".join(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        value = value.strip()[:LONGEST_TEXT].strip()
    return None if value == "" else value


def _names(value: Any) -> Any:
    """A list of names, also where it was stored as text: JSON, a Python list, or names with commas."""
    if value is None:
        return []
    if isinstance(value, str):
        value = _listed(value.strip()[:LONGEST_TEXT])
    if not isinstance(value, list) or not all(isinstance(each, str | int) for each in value):
        raise ValueError("is neither a list of names nor a text")
    names = (str(each).strip()[:LONGEST_NAME] for each in value)
    return list(dict.fromkeys(name for name in names if name))[:MOST_SYSTEMS]


def _listed(text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        for read in (json.loads, ast.literal_eval):
            try:
                return read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return text.strip("[]").split(",")


Text = Annotated[str | None, BeforeValidator(_words)]


class OldIncident(BaseModel):
    """A point's payload; what is missing is not known."""

    incident_id: Text = None
    timestamp: datetime | None = None
    alert_name: Annotated[str, BeforeValidator(_words), Field(max_length=LONGEST_NAME)]
    description: Text = None
    severity: Text = None
    affected_systems: Annotated[list[str], BeforeValidator(_names)] = []
    root_cause: Text = None
    remediation_taken: Text = None
    resolution_status: Text = None
    resolution_time_seconds: float | None = None

    @field_validator("timestamp", "resolution_time_seconds", mode="before")
    @classmethod
    def _empty_is_unknown(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("timestamp")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        """It wrote times without a zone; they are read as UTC."""
        if value is None:
            return None
        try:
            return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
        except OverflowError as error:
            raise ValueError("is no time that a calendar has") from error

    @field_validator("resolution_time_seconds")
    @classmethod
    def _a_duration(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError("is no duration")
        return value


def read(server: str, collection: str, point: str, payload: dict[str, Any]) -> Given:
    """What is to be remembered of a point; `server` tells it from those of others. Raises BadPoint."""
    try:
        old = OldIncident.model_validate(payload)
    except ValidationError as error:
        raise BadPoint("; ".join(map(_problem, error.errors()))) from error
    return Given.redacted(
        f"import:{server}:{collection}:{point}",
        MemoryEntry.Kind.IMPORTED,
        title=old.alert_name,
        text=_text(old),
        payload=_payload(
            old, {"server": server, "collection": collection, "point": point, "incident_id": old.incident_id}
        ),
        happened_at=old.timestamp,
    )


def _problem(error: Any) -> str:
    where = ".".join(map(str, error["loc"])) or "payload"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}"


def _said(old: OldIncident) -> str | None:
    return f"said to be {old.resolution_status}" if old.resolution_status else None


def _text(old: OldIncident) -> str:
    """A line a fact, as of our own incidents; nothing in it reads as proven."""
    labelled = (
        ("severity", old.severity),
        ("systems", ", ".join(old.affected_systems)),
        ("cause, unproven", old.root_cause),
        ("remediation, unproven", old.remediation_taken),
        ("outcome, unproven", _said(old)),
    )
    lines = [old.alert_name, old.description]
    lines += [f"{label}: {fact}" for label, fact in labelled if fact]
    return "\n".join(line for line in lines if line)


def _payload(old: OldIncident, origin: dict[str, Any]) -> dict[str, Any]:
    """The keys that `compose` gives to incidents of our own, without a verdict."""
    return {
        "incident_id": None,
        "timestamp": old.timestamp.isoformat().replace("+00:00", "Z") if old.timestamp else None,
        "alert_name": old.alert_name,
        "description": old.description,
        "severity": old.severity,
        "affected_systems": old.affected_systems,
        "root_cause": old.root_cause,
        "remediation_taken": old.remediation_taken,
        "resolution_status": _said(old),
        "resolution_time_seconds": old.resolution_time_seconds,
        "verdict": None,
        "target_kind": None,
        "human_confirmed": False,
        "unproven": True,
        "origin": origin,
    }
