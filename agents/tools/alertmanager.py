"""Alertmanager's API v2: what is active now. For intake and reconciliation; agents see it by Prometheus."""

from __future__ import annotations

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


def active_alerts() -> list[Alert]:
    """Every alert that fires now, silenced and inhibited ones left out; ToolError when it cannot be asked."""
    url = f"{settings.ALERTMANAGER_URL}/api/v2/alerts?active=true&silenced=false&inhibited=false"
    listed = get_json(url)
    if not isinstance(listed, list):
        raise ToolError("Alertmanager's list of alerts is no list")
    try:
        return [alert for item in listed if (alert := parse_api_alert(item)) is not None]
    except PayloadError as error:
        raise ToolError(f"Alertmanager's list has an alert that cannot be read: {error}") from error
