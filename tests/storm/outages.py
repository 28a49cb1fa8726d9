"""What goes wrong in the storm: a container ends, its alerts fire until somebody starts it again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from .engine import Engine
from .plan import ALERT_AFTER, OWNER_AFTER
from .web import Answer, Asked, Server

DOWN, SILENT, SLOW = "ContainerDown", "ContainerSilent", "ContainerSlow"
ZERO_TIME = "0001-01-01T00:00:00Z"
Json = dict[str, Any]


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Alert:
    """An alert as a sender knows it at a moment; `ends_at` None while it fires. Times since 1970."""

    name: str
    host: str
    container: str
    starts_at: float
    ends_at: float | None

    @property
    def labels(self) -> dict[str, str]:
        return {
            "alertname": self.name,
            "severity": "critical",
            "host": self.host,
            "container": self.container,
        }

    @property
    def fingerprint(self) -> str:
        return sha256(repr(self.labels).encode()).hexdigest()[:16]

    def as_json(self) -> Json:
        """Without a link to its expression: so the proof of its end is the container's own state."""
        return {
            "status": "firing" if self.ends_at is None else "resolved",
            "labels": self.labels,
            "annotations": {"summary": f"{self.container} on {self.host} is down"},
            "startsAt": moment(self.starts_at),
            "endsAt": ZERO_TIME if self.ends_at is None else moment(self.ends_at),
            "generatorURL": "",
            "fingerprint": self.fingerprint,
        }


@dataclass(frozen=True)
class Outage:
    """A container that ended, and the group of alerts about it.

    `blip`: it has a third alert, which was over before anybody was told of it.
    """

    engine: Engine
    container: str
    began: float
    blip: bool

    @property
    def group_key(self) -> str:
        return f'{{}}/{{}}:{{container="{self.container}", host="{self.engine.host}"}}'

    @property
    def over_at(self) -> float | None:
        """When its container ran again; the alerts of it end a moment later."""
        found = self.engine.containers[self.container]
        return found.started_at if found.running else None

    def alerts(self) -> list[Alert]:
        """Of the whole group, as they are now."""
        over = self.over_at
        ends = over + 1.0 if over is not None and over + 1.0 <= time.time() else None
        starts = self.began + ALERT_AFTER
        both = [self._alert(name, starts, ends) for name in (DOWN, SILENT)]
        return [*both, self._alert(SLOW, self.began, starts)] if self.blip else both

    def late_blip(self) -> Alert:
        """The firing of an alert whose end was told already."""
        return self._alert(SLOW, self.began, None)

    def _alert(self, name: str, starts: float, ends: float | None) -> Alert:
        return Alert(name, self.engine.host, self.container, starts, ends)


class World:
    """The engines, and what of them has ended so far."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self.engines = engines
        self.outages: list[Outage] = []
        # One host after the other, so that changes on several hosts go on at the same time.
        depth = max(len(each.containers) for each in engines.values())
        names = {host: sorted(engine.containers) for host, engine in engines.items()}
        self._next = [
            (engines[host], names[host][row])
            for row in range(depth)
            for host in names
            if row < len(names[host])
        ]
        self.started_by_hand = 0

    def break_one(self) -> Outage | None:
        """Let the next container end; None when all of them have."""
        if not self._next:
            return None
        engine, name = self._next.pop(0)
        outage = Outage(engine, name, engine.crash(name), blip=len(self.outages) % 3 == 0)
        self.outages.append(outage)
        return outage

    def start_by_hand(self, given_up: set[str]) -> None:
        """What the owner does now and then: starts what the crew will not, and what is down for very long."""
        for each in self.outages:
            late = time.time() - each.began > OWNER_AFTER
            if each.over_at is None and (late or each.container in given_up):
                self.started_by_hand += each.engine.start(each.container)


def alertmanager_api(world: World) -> Server:
    """Alertmanager's own list, which says what is active whatever was delivered."""

    def answer(asked: Asked) -> Answer:
        if asked.path == "/api/v2/status":
            return Answer.of({"versionInfo": {"version": "0.27.0"}, "cluster": {"status": "ready"}})
        if asked.path == "/api/v2/alerts/groups":
            return Answer.of([group for each in list(world.outages) if (group := _listed(each)) is not None])
        return Answer.of("path not found", 404)

    return Server(answer)


def _listed(outage: Outage) -> Json | None:
    now = time.time()
    active = [
        {**each.as_json(), "endsAt": moment(now + 240), "status": {"state": "active"}}
        for each in outage.alerts()
        if each.ends_at is None and each.starts_at <= now
    ]
    labels = {"container": outage.container, "host": outage.engine.host}
    return {"labels": labels, "receiver": {"name": "homelab"}, "alerts": active} if active else None
