"""Without a Docker engine: a process is killed, and the crew finds out. It has no action for processes, so
the demo plays the person who starts it again. Nothing here proves that the crew mends anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from homelab.demo.alert import Alert, Road
from homelab.demo.client import BY_HAND, Json, Server
from homelab.demo.follow import Follower, closed
from homelab.demo.service import Service
from homelab.demo.terminal import Terminal

MARK = "SIMULATED"
ALERT_NAME = "HomelabDemoServiceDown"
# The word for what was proved. Nothing is, here, so no line says it, whoever wrote the line.
NEVER = "verified"


def alert_about(service: Service) -> Alert:
    labels = {
        "alertname": ALERT_NAME,
        "severity": "warning",
        "instance": service.address,
        "demo": "true",
        "simulated": "true",
    }
    return Alert(labels, {"summary": f"{MARK}: the demo's server at {service.address} is down"})


@dataclass
class Person:
    """Starts the service again when the crew has said its piece, and closes the incident."""

    server: Server
    terminal: Terminal
    service: Service
    road: Road
    alert: Alert
    mended: bool = False

    def on_news(self, incident: Json, news: list[Json]) -> None:
        analysed = incident["status"] in ("proving", "awaiting_approval")
        told = any(event["actor"] == "communicator" for event in incident["events"])
        if analysed and told and not self.mended:
            self.mended = True
            self.terminal.tell("demo", "the crew starts no processes: starts it again, as a person would")
            self.service.start()
            self.road.resolve(self.alert)
            self.terminal.tell("demo", "calls it a false alarm by the API, so that it counts in no rate")
            self.server.close_by_hand(incident["id"], f"{MARK} demo")


def follow(follower: Follower, person: Person) -> bool:
    """Until the verdict, which is the person's own."""
    follower.until(closed, person.on_news)
    return bool(follower.last_words()["verdict"] == BY_HAND)
