"""A small world to break: containers that a Prometheus watches, and the crew driven step by step."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from django.utils import timezone

from agents import advance, contested
from agents.models import Step
from incidents import intake, notifications
from incidents.alertmanager import label_fingerprint, parse_webhook
from incidents.models import Incident, Notification

from .servers import Docker, Json, Prometheus, free_port, wait_until

EXPRESSION = 'up{job="web"} == 0'
ZERO_TIME = "0001-01-01T00:00:00Z"


@dataclass
class Service:
    """A web container and the port it serves on."""

    name: str
    port: int = field(default_factory=free_port)


@dataclass
class World:
    prometheus: Prometheus
    docker: Docker
    services: dict[str, Service]

    def labels(self, service: Service) -> dict[str, str]:
        """Of the alert about a service, as Prometheus sends them."""
        return {
            "alertname": self.alert_name,
            "severity": "critical",
            "job": "web",
            "instance": f"127.0.0.1:{service.port}",
            "container": service.name,
        }

    alert_name: str = field(default_factory=lambda: f"Service{secrets.token_hex(3)}")

    def up(self, service: Service) -> str | None:
        rows = self.prometheus.query(f'up{{container="{service.name}"}}')
        return rows[0]["value"][1] if rows else None

    def wait_up(self, service: Service, value: str) -> None:
        wait_until(lambda: self.up(service) == value, 20, f"up of {service.name} never was {value}")

    def post(
        self,
        service: Service,
        *,
        status: str = "firing",
        starts: str | None = None,
        group: str | None = None,
    ) -> Incident:
        """Deliver an alert about a service as Alertmanager would, in a group of its own; its incident."""
        labels = self.labels(service)
        now = timezone.now().isoformat()
        alert: Json = {
            "status": status,
            "labels": labels,
            "annotations": {"summary": f"{service.name} is down"},
            "startsAt": starts or now,
            "endsAt": now if status == "resolved" else ZERO_TIME,
            "generatorURL": f"{self.prometheus.url}/graph?g0.expr={quote(EXPRESSION)}&g0.tab=1",
            "fingerprint": label_fingerprint(labels),
        }
        group_key = f'{{}}:{{alertname="{self.alert_name}", group="{group or service.name}"}}'
        body = json.dumps({"version": "4", "groupKey": group_key, "alerts": [alert]}).encode()
        receipt = intake.receive(source="alertmanager", body=body, webhook=parse_webhook(body))
        return Incident.objects.get(pk=receipt.incidents[0])


@contextmanager
def world(directory: Path, names: list[str]) -> Iterator[World]:
    """Prometheus, a dockerd, and a running container for each name (with a random suffix)."""
    services = {name: Service(f"{name}-{secrets.token_hex(3)}") for name in names}
    statics = [
        {"targets": [f"127.0.0.1:{each.port}"], "labels": {"container": each.name}}
        for each in services.values()
    ]
    with ExitStack() as stack:
        docker = stack.enter_context(Docker(directory / "docker"))
        for each in services.values():
            docker.run_web(each.name, each.port)
        prometheus = stack.enter_context(
            Prometheus(
                directory / "prometheus",
                jobs=[{"job_name": "web", "static_configs": statics}],
                rules=[],
            )
        )
        built = World(prometheus, docker, services)
        for each in services.values():
            built.wait_up(each, "1")
        yield built


def drive(until: Callable[[], object], timeout: float = 60.0) -> None:
    """Do what the worker and the sweeps do, in this thread, until something holds."""
    ends = time.monotonic() + timeout
    while not until():
        if time.monotonic() > ends:
            raise TimeoutError("the crew did not get there in time:\n" + timeline())
        advance.start_waiting_runs()
        for pk in contested.due():
            contested.settle(pk)
        for pk in Step.queue.due().values_list("pk", flat=True):
            advance.advance(pk)
        for pk in Notification.queue.due().values_list("pk", flat=True):
            notifications.deliver(pk)
        time.sleep(0.1)


def drive_to_status(incident: Incident, status: str, timeout: float = 60.0) -> Incident:
    def there() -> bool:
        incident.refresh_from_db()
        return incident.status == status

    drive(there, timeout)
    return incident


def drive_to_end(incident: Incident, timeout: float = 60.0) -> Incident:
    return drive_to_status(incident, "closed", timeout)


def timeline(incident: Incident | None = None) -> str:
    """Every event with its seconds since the first, for the terminal."""
    incidents = [incident] if incident else list(Incident.objects.order_by("id"))
    lines = []
    for each in incidents:
        lines.append(f"{each} [{each.status}, {each.verdict}]")
        for event in each.events.order_by("id"):
            seconds = (event.at - each.opened_at).total_seconds()
            lines.append(f"  {seconds:+7.2f} s  {event.kind:<18} {event.actor:<12} {event.text}")
    return "\n".join(lines)
