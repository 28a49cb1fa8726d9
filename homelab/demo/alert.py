"""The alert of the demo: given to a real Alertmanager, or posted as Alertmanager would."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import requests

from homelab.demo.client import DemoError, Json, Server
from homelab.demo.terminal import Terminal
from incidents.alertmanager import label_fingerprint

LOOK_SECONDS = 1.0
# The server's poll takes alerts of 30 s and more, because a younger one may be on its way by the webhook.
POLL_AFTER_SECONDS = 31.0
GIVE_UP_SECONDS = 75.0
LASTS = timedelta(hours=1)  # without an end of its own Alertmanager would resolve it after five minutes
NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Alert:
    """Names no expression: no Prometheus watches what the demo breaks."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def name(self) -> str:
        return self.labels["alertname"]


class Road(Protocol):
    """How an alert reaches homelab."""

    def fire(self, alert: Alert) -> int:
        """The incident it led to."""

    def resolve(self, alert: Alert) -> None: ...


@dataclass
class Webhook:
    """Posts what Alertmanager would post."""

    server: Server

    def fire(self, alert: Alert) -> int:
        return self.server.send_alert(delivery(alert, firing=True))[0]

    def resolve(self, alert: Alert) -> None:
        self.server.send_alert(delivery(alert, firing=False))


def delivery(alert: Alert, *, firing: bool) -> Json:
    """A webhook of version 4 with one alert, in a group of its own."""
    labels, annotations = dict(alert.labels), dict(alert.annotations)
    matchers = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    status = "firing" if firing else "resolved"
    one = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": alert.starts_at.isoformat(),
        "endsAt": NEVER if firing else datetime.now(UTC).isoformat(),
        "generatorURL": "",
        "fingerprint": label_fingerprint(labels),
    }
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{matchers}}}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "homelab",
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [one],
    }


@dataclass
class Alertmanager:
    """Gives the alert to a real Alertmanager and waits until it, or homelab's poll of it, has brought it."""

    url: str
    server: Server
    terminal: Terminal

    def fire(self, alert: Alert) -> int:
        self._post(alert, alert.starts_at + LASTS)
        began = time.monotonic()
        waits = "Alertmanager lets the group fill (group_wait)"
        polled = False
        while (found := self._incident_of(alert)) is None:
            waited = time.monotonic() - began
            if waited > GIVE_UP_SECONDS:
                self.terminal.tell("demo", "neither brought it: posts the webhook itself")
                return Webhook(self.server).fire(alert)
            if waited > POLL_AFTER_SECONDS and not polled:
                text = "no webhook yet (is homelab's receiver pasted?): has homelab poll Alertmanager"
                self.terminal.tell("demo", text)
                self.server.check_health()
                polled, waits = True, "homelab polls Alertmanager"
            self.terminal.waiting(waits)
            time.sleep(LOOK_SECONDS)
        return found

    def resolve(self, alert: Alert) -> None:
        self._post(alert, datetime.now(UTC))

    def _incident_of(self, alert: Alert) -> int | None:
        """By the alert's labels: it may have joined an incident of another name."""
        for incident in self.server.newest_incidents():
            if incident["verdict"] is None:
                whole = self.server.incident(incident["id"])
                if any(alert.labels.items() <= episode["labels"].items() for episode in whole["episodes"]):
                    return int(incident["id"])
        return None

    def _post(self, alert: Alert, ends_at: datetime) -> None:
        body = {
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": alert.starts_at.isoformat(),
            "endsAt": ends_at.isoformat(),
        }
        with requests.Session() as http:
            http.trust_env = False
            http.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
            try:
                answer = http.post(f"{self.url}/api/v2/alerts", json=[body], timeout=10)
            except requests.RequestException as error:
                raise DemoError(f"Alertmanager went away: {type(error).__name__}.") from error
        if not answer.ok:
            raise DemoError(f"Alertmanager answered {answer.status_code} to the alert: {answer.text[:200]}")
