"""The real thing: a container is killed, and the crew brings it back, after a person's yes if it asks."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from homelab.demo.alert import Alert, Road
from homelab.demo.client import Gone, Json, Server
from homelab.demo.container import Container
from homelab.demo.follow import Follower, closed
from homelab.demo.terminal import Terminal
from incidents.models import Verdict

ALERT_NAME = "HomelabDemoContainerDown"
GOOD_ENDS = (Verdict.VERIFIED, Verdict.CLEARED_BEFORE_ACTION)


def alert_about(container: Container) -> Alert:
    labels = {
        "alertname": ALERT_NAME,
        "severity": "warning",
        "container": container.name,
        "host": container.host,
        "demo": "true",
    }
    summary = f"{container.name} on {container.host} is down (the demo killed it)"
    return Alert(labels, {"summary": summary})


@dataclass
class Owner:
    """The person behind the container, played by the demo: decides, and mends what the crew leaves."""

    server: Server
    terminal: Terminal
    container: Container
    road: Road
    alert: Alert
    yes: bool
    kinds: set[str] = field(default_factory=set)
    mended: bool = False

    def on_news(self, incident: Json, news: list[Json]) -> None:
        self.kinds |= {event["kind"] for event in news}
        for event in news:
            if event["kind"] == "asked":
                self._decide(event["data"]["action"])
        if incident["status"] == "proving" and "executed" not in self.kinds and not self.mended:
            self._mend(incident)

    def _decide(self, pk: int) -> None:
        action = self.server.action(pk)
        self.terminal.tell("demo", f"a yes would mean: it {action['touches']}")
        try:
            if self._says_yes():
                self.server.approve(pk)
            else:
                self.server.reject(pk, "no, said the person at the demo")
        except Gone as error:
            self.terminal.tell("demo", f"too late: {error}")

    def _says_yes(self) -> bool:
        if self.yes:
            self.terminal.tell("demo", "approves it by the API, as --yes says")
            return True
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            self.terminal.tell("demo", "approves it by the API itself, as there is no terminal to ask at")
            return True
        return self.terminal.ask("Approve?")

    def _mend(self, incident: Json) -> None:
        """Nobody else will: start it by hand, as its owner would, and let the sender notice."""
        self.mended = True
        why = "the crew only watches now" if incident["target"] else "the server sees no such container"
        self.terminal.tell("demo", f"{why}: starts {self.container.name} by hand")
        self.container.start()
        self.road.resolve(self.alert)
        if incident["target"] is None:
            hint = "the server does not see this Docker engine: same DOCKER_HOSTS?"
            self.server.close_by_hand(incident["id"], f"demo; {hint}")
            self.terminal.tell("demo", hint)


def follow(follower: Follower, owner: Owner) -> bool:
    """Until the verdict; whether it is one that a demo is to end with."""
    follower.until(closed, owner.on_news)
    found = follower.last_words()
    return found["verdict"] in GOOD_ENDS
