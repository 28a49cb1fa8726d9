"""Alertmanager's webhook (version 4, and Grafana's, nearly the same): payload to typed values, no ORM.

Unknown keys are ignored. A payload that is no webhook at all raises `PayloadError`, which names the field.
One bad alert among good ones is quarantined with its reason, and the rest is kept.
Source: Alertmanager's configuration documentation, `webhook_config`, and golden payloads in tests/data.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from django.utils.dateparse import parse_datetime

from incidents.redaction import clean, clean_tree

# Of tokens unless they say otherwise, and of what the poll finds: an HA pair is one sender.
DEFAULT_SOURCE = "alertmanager"
logger = logging.getLogger(__name__)
MAX_NAME = 200
UNNAMED = "unnamed alert"
MAX_FINGERPRINT = 64
# Go's zero time: what `endsAt` says while an alert fires.
ZERO_YEAR = 1
# Alerts that fire all the time to show that the road is open; their silence is the news.
WATCHDOGS = frozenset({"watchdog", "deadmansswitch", "deadmanssnitch", "deadman"})
# What metrics/prometheus/alerts.yml puts on alerts about this program.
COMPONENT = "homelab-ai-agents"


class PayloadError(ValueError):
    """The request is no webhook; the message names the field."""


def is_watchdog_name(alert_name: str) -> bool:
    return alert_name.lower().replace("_", "").replace("-", "") in WATCHDOGS


def title_of(labels: Mapping[str, str]) -> str:
    """An alert's name for people. Secrets go before it is cut: a part of one is not known as one."""
    return clean(labels.get("alertname", ""))[:MAX_NAME] or UNNAMED


@dataclass(frozen=True)
class Alert:
    """One alert as its sender described it. `ends_at` is None while it fires.

    Annotations are for reading, and redacted here. Labels are what the alert is known by and proved with, so
    they stay as they were sent, and are redacted where they leave.
    """

    fingerprint: str
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    generator_url: str = ""
    condition: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """As its rule is called: what it is looked up by, and not to be shown."""
        return self.labels.get("alertname", "")[:MAX_NAME] or UNNAMED

    @property
    def title(self) -> str:
        """Its name without secrets."""
        return title_of(self.labels)

    @property
    def severity(self) -> str:
        return self.labels.get("severity", "")[:60]

    @property
    def description(self) -> str:
        for key in ("description", "summary", "message"):
            if text := self.annotations.get(key):
                return text
        return self.title

    @property
    def is_watchdog(self) -> bool:
        return is_watchdog_name(self.name)

    @property
    def is_about_us(self) -> bool:
        return self.labels.get("component") == COMPONENT


@dataclass(frozen=True)
class Webhook:
    """A delivery: its readable alerts, and `quarantined` as `{"index", "reason"}`."""

    group_key: str
    alerts: tuple[Alert, ...]
    quarantined: tuple[dict[str, Any], ...] = ()
    truncated: int = 0


def parse_webhook(body: bytes) -> Webhook:
    """A webhook's body, JSON in UTF-8, as typed values; PayloadError when it is none."""
    payload = _json_object(body)
    items = payload.get("alerts")
    if "alerts" not in payload:
        raise PayloadError("alerts: is missing")
    if not isinstance(items, list):
        raise PayloadError(f"alerts: wants a list, got {_kind(items)}")
    alerts: list[Alert] = []
    quarantined: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        try:
            alerts.append(parse_alert(item))
        except PayloadError as error:
            quarantined.append({"index": index, "reason": str(error)})
    return Webhook(
        group_key=_group_key(payload),
        alerts=tuple(alerts),
        quarantined=tuple(quarantined),
        truncated=_count(payload.get("truncatedAlerts", 0)),
    )


def parse_alert(item: Any) -> Alert:
    """One member of `alerts`; PayloadError names the field that is wrong."""
    if not isinstance(item, dict):
        raise PayloadError(f"alert: wants an object, got {_kind(item)}")
    status = item.get("status")
    if status not in ("firing", "resolved"):
        raise PayloadError(f"status: wants firing or resolved, got {_short(status)}")
    labels = _string_map(item, "labels")
    starts_at = _time(item, "startsAt")
    if starts_at is None:
        raise PayloadError("startsAt: is missing")
    ends_at = _time(item, "endsAt")
    if status == "resolved" and ends_at is None:
        raise PayloadError("endsAt: is missing of a resolved alert")
    return Alert(
        fingerprint=_fingerprint(item, labels),
        firing=status == "firing",
        labels=labels,
        annotations=clean_tree(_string_map(item, "annotations")),
        starts_at=starts_at,
        ends_at=ends_at if status == "resolved" else None,
        generator_url=_text(item.get("generatorURL", ""), "generatorURL"),
    )


def parse_api_alert(item: Any) -> Alert | None:
    """One member of Alertmanager's `GET /api/v2/alerts`; None when it does not fire (silenced ones do).

    There `endsAt` of a firing alert lies in the future: the moment it would expire.
    """
    if not isinstance(item, dict):
        raise PayloadError(f"alert: wants an object, got {_kind(item)}")
    ends_at = _time(item, "endsAt")
    if ends_at is not None and ends_at <= datetime.now(UTC):
        return None
    return parse_alert({**item, "status": "firing"})


def label_fingerprint(labels: Mapping[str, str]) -> str:
    """A fingerprint for senders that give none: of the labels alone, as Alertmanager's is."""
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        payload = json.loads(body, parse_constant=refuse_constant)
    except UnicodeDecodeError as error:
        raise PayloadError("body: is not UTF-8") from error
    except RecursionError as error:
        raise PayloadError("body: is nested too deep") from error
    except ValueError as error:  # also a number of more digits than Python will convert
        raise PayloadError(f"body: is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise PayloadError(f"body: wants an object, got {_kind(payload)}")
    return payload


def refuse_constant(name: str) -> NoReturn:
    """Python's parser takes NaN and Infinity, which are no JSON."""
    raise ValueError(f"{name} is not JSON")


def _group_key(payload: dict[str, Any]) -> str:
    """Empty when it cannot be read: the alerts are worth more than knowing that they belong together."""
    try:
        return _text(payload.get("groupKey", ""), "groupKey")
    except PayloadError as error:
        logger.warning("the alerts of a webhook are taken without their group: %s", error)
        return ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _string_map(item: dict[str, Any], key: str) -> dict[str, str]:
    value = item.get(key)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise PayloadError(f"{key}: wants an object, got {_kind(value)}")
    return {_text(name, key): _text(text, f"{key}.{_short(name)}") for name, text in value.items()}


def _text(value: Any, key: str) -> str:
    """A string that every database can store: PostgreSQL refuses NUL, UTF-8 has no lone surrogates."""
    if not isinstance(value, str):
        raise PayloadError(f"{key}: wants a string, got {_kind(value)}")
    if "\x00" in value:
        raise PayloadError(f"{key}: has a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(f"{key}: has a lone surrogate") from error
    return value


def _time(item: dict[str, Any], key: str) -> datetime | None:
    """An RFC 3339 time in UTC; None when it is absent or Go's zero time."""
    value = item.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise PayloadError(f"{key}: wants an RFC 3339 time, got {_kind(value)}")
    try:
        moment = parse_datetime(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise PayloadError(f"{key}: wants an RFC 3339 time with its zone, got {_short(value)}")
    if moment.year == ZERO_YEAR:
        return None
    try:
        moment = moment.astimezone(UTC)
        # room for the sums that are made with it
        moment + timedelta(days=366), moment - timedelta(days=366)
    except OverflowError as error:
        raise PayloadError(f"{key}: {_short(value)} is out of range") from error
    return moment


def _fingerprint(item: dict[str, Any], labels: dict[str, str]) -> str:
    value = item.get("fingerprint")
    if value is None or value == "":
        return label_fingerprint(labels)
    text = _text(value, "fingerprint")
    if len(text) > MAX_FINGERPRINT:
        raise PayloadError(f"fingerprint: is longer than {MAX_FINGERPRINT} characters")
    return text


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return _kind(value)
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
