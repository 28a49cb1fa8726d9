"""Alertmanager's API v2: what is active now. For intake and reconciliation; agents see it by Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from agents.tools.base import Health, Integration, ToolError, register
from agents.tools.http import get_json
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
    """Alertmanager's alerts: those that fire, and the fingerprints of all, also of silenced ones."""

    active: tuple[Alert, ...]
    fingerprints: frozenset[str]


def listing() -> Listing:
    """Every alert that Alertmanager knows now; ToolError when it cannot be asked."""
    items = get_json(f"{settings.ALERTMANAGER_URL}/api/v2/alerts")
    if not isinstance(items, list):
        raise ToolError("Alertmanager's list of alerts is no list")
    try:
        read = [(item, alert) for item in items if (alert := parse_api_alert(item)) is not None]
    except PayloadError as error:
        raise ToolError(f"Alertmanager's list has an alert that cannot be read: {error}") from error
    return Listing(
        active=tuple(alert for item, alert in read if not _is_suppressed(item)),
        fingerprints=frozenset(alert.fingerprint for _, alert in read),
    )


def active_alerts() -> tuple[Alert, ...]:
    """Every alert that fires now, silenced and inhibited ones left out; ToolError when it cannot be asked."""
    return listing().active


def _is_suppressed(item: Mapping[str, Any]) -> bool:
    status = item.get("status")
    return isinstance(status, dict) and status.get("state") == "suppressed"
