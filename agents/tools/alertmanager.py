"""Alertmanager's API v2: what is active now, and silences. Agents have no tool of it: they see alerts by
Prometheus, and silences are made by the executor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from agents.tools.base import Health, Integration, ToolError, register
from agents.tools.http import get_json, post_json
from incidents.alertmanager import Alert, PayloadError, parse_api_alert


def _check() -> Health:
    try:
        status = get_json(f"{settings.ALERTMANAGER_URL}/api/v2/status")
    except ToolError as error:
        return Health(False, str(error))
    version = status.get("versionInfo", {}).get("version") if isinstance(status, dict) else None
    return Health(True, "answers", version)


INTEGRATION = register(
    Integration(
        name="alertmanager",
        configured=lambda: settings.ALERTMANAGER_URL is not None,
        check=_check,
        settings=("ALERTMANAGER_URL",),
    )
)


@dataclass(frozen=True)
class Listing:
    """Alertmanager's alerts, each once: those that fire, and the fingerprints of all, also of silenced ones.

    The key of a group is of our own making: the one that it delivers with, Alertmanager does not list.
    """

    groups: Mapping[str, tuple[Alert, ...]]
    fingerprints: frozenset[str]

    @property
    def active(self) -> tuple[Alert, ...]:
        return tuple(alert for group in self.groups.values() for alert in group)


def listing() -> Listing:
    """Every alert that Alertmanager knows now; ToolError when it cannot be asked."""
    listed = get_json(f"{settings.ALERTMANAGER_URL}/api/v2/alerts/groups")
    groups: dict[str, tuple[Alert, ...]] = {}
    seen: set[str] = set()
    try:
        for key, items in map(_group, _list(listed)):
            read = [(item, alert) for item in items if (alert := parse_api_alert(item)) is not None]
            # an alert that goes to several receivers is in a group of each
            new = [(item, alert) for item, alert in read if alert.fingerprint not in seen]
            seen.update(alert.fingerprint for _, alert in new)
            groups[key] = tuple(alert for item, alert in new if not _is_suppressed(item))
    except PayloadError as error:
        raise ToolError(f"Alertmanager's list has an alert that cannot be read: {error}") from error
    return Listing(groups, frozenset(seen))


def _group(item: Any) -> tuple[str, list[Any]]:
    if not isinstance(item, dict):
        raise ToolError("Alertmanager's list has a group that is no object")
    receiver = item.get("receiver")
    name = receiver.get("name") if isinstance(receiver, dict) else None
    return f"listed:{name}:{json.dumps(item.get('labels'), sort_keys=True)}", _list(item.get("alerts"))


def _list(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise ToolError("Alertmanager's list of alerts is no list")
    return found


def active_alerts() -> tuple[Alert, ...]:
    """Every alert that fires now, silenced and inhibited ones left out; ToolError when it cannot be asked."""
    return listing().active


def _is_suppressed(item: Mapping[str, Any]) -> bool:
    status = item.get("status")
    return isinstance(status, dict) and status.get("state") == "suppressed"


def alerts_with(labels: Mapping[str, str]) -> tuple[Alert, ...]:
    """Those that fire now, and are not silenced yet, and have all these labels."""
    return tuple(each for each in active_alerts() if labels.items() <= each.labels.items())


def create_silence(labels: Mapping[str, str], *, starts: datetime, ends: datetime, comment: str) -> str:
    """Silence the alerts that have exactly these values of these labels; the silence's id."""
    matchers = [
        {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in labels.items()
    ]
    silence = {
        "matchers": matchers,
        "startsAt": starts.isoformat(),
        "endsAt": ends.isoformat(),
        "createdBy": "homelab",
        "comment": comment,
    }
    answer = post_json(f"{settings.ALERTMANAGER_URL}/api/v2/silences", silence)
    if not isinstance(answer, dict) or not isinstance(answer.get("silenceID"), str):
        raise ToolError("Alertmanager's answer names no silence", unanswered=True)
    return str(answer["silenceID"])


def has_silence(comment: str) -> bool:
    """Whether a silence with that comment exists or existed; ToolError when it cannot be asked."""
    silences = _list(get_json(f"{settings.ALERTMANAGER_URL}/api/v2/silences"))
    return any(isinstance(each, dict) and each.get("comment") == comment for each in silences)
