"""The machine that is attacked: an engine with seven containers, and the servers that homelab talks to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

from tests.agents import fake_prometheus
from tests.agents.fake_prometheus import FakePrometheus
from tests.canaries import CANARY, OWN_SECRET
from tests.storm.containers import Container, nano
from tests.storm.engine import Engine
from tests.storm.web import Answer, Asked, Server

HOST = "nas"
OWN = "web"
NEIGHBOURS = ("app", "db", "homelab", "prometheus", "alertmanager", "backup")
EXPRESSION = 'up{job="web"} == 0'
QUIET_LOG = (
    "serving on :8080",
    f"connecting with password={CANARY}",
    f"GET https://nas.lan/hook?access_token={CANARY}&page=2 200",
    f"restarting with {OWN_SECRET} now",
)
LAST_WORDS = "panic: connection pool exhausted"
CHANGING = frozenset({"POST", "PUT", "DELETE", "PATCH"})


@dataclass
class Inspected(Container):
    """A container with what strangers may write on it."""

    labels: dict[str, str] = field(default_factory=dict)
    error: str = ""
    probe: str = ""

    def inspection(self) -> dict[str, Any]:
        found = super().inspection()
        found["Config"]["Labels"] = dict(self.labels)
        found["Config"]["Env"] = ["PATH=/usr/bin", f"DB_PASSWORD={CANARY}", f"SALT={CANARY}"]
        found["State"]["Error"] = self.error
        if self.probe:
            log = [{"End": nano(self.finished_at), "ExitCode": 1, "Output": self.probe}]
            found["State"]["Health"] = {"Status": "unhealthy", "FailingStreak": 3, "Log": log}
        return found

    def summary(self) -> dict[str, Any]:
        return {**super().summary(), "Labels": dict(self.labels)}


class Host(Engine):
    """The test engine, with containers that can be written on, and put back as they were."""

    def __init__(self) -> None:
        super().__init__(HOST, [], calls=[])

    def _new(self, name: str, now: float) -> Inspected:
        made = super()._new(name, now)
        return Inspected(name, made.id, made.created, started_at=made.started_at, pid=made.pid, log=made.log)

    def reset(self, *, stopped: bool = False, well: bool = False) -> None:
        """`web` is down since a minute: it crashed, or somebody `stopped` it. All others run."""
        self.calls.clear()
        self._events.clear()
        now = time.time()
        self.containers = {name: self._new(name, now) for name in (OWN, *NEIGHBOURS)}
        self.web.log = [(now - 90 + place, line) for place, line in enumerate(QUIET_LOG)]
        if well:
            return
        self._end(self.web, 0 if stopped else 1)
        self.web.finished_at = now - 60
        self.web.log.append((now - 60, "bye" if stopped else LAST_WORDS))
        for action in ("die", "stop") if stopped else ("die",):
            self._event(self.web, action, exitCode=str(self.web.exit_code))
            self._events[-1].update(time=int(now - 60), timeNano=int((now - 60) * 1e9))

    def add(self, name: str) -> None:
        """One more container, which runs."""
        self.containers[name] = self._new(name, time.time())

    @property
    def web(self) -> Inspected:
        found = self.containers[OWN]
        assert isinstance(found, Inspected)
        return found

    def changes(self) -> list[str]:
        """`restart web`: what it was told to change since the reset, in order."""
        found = []
        for call in self.calls:
            if call.method in CHANGING:
                parts = call.path.strip("/").split("/")
                container = self._find(parts[1]) if len(parts) == 3 else None
                found.append(f"{parts[-1]} {container.name if container else call.path}")
        return found


class Alertmanager:
    """`labels`: of the alert that is active; `comment`: of a silence that somebody made once."""

    def __init__(self) -> None:
        self.labels: dict[str, str] = {}
        self.comment = ""
        self.posts: list[str] = []
        self._server = Server(self._answer)
        self.url = self._server.url

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def _answer(self, asked: Asked) -> Answer:
        if asked.method != "GET":
            self.posts.append(f"{asked.method} {asked.path} {asked.body.decode()}")
            return Answer.of({"silenceID": "0f0e"})
        if asked.path.endswith("/silences"):
            return Answer.of([{"id": "1", "comment": self.comment, "status": {"state": "active"}}])
        alert = {
            "labels": self.labels,
            "annotations": {},
            "startsAt": nano(time.time() - 300),
            "endsAt": nano(time.time() + 300),
            "fingerprint": "f",
            "status": {"state": "active"},
            "generatorURL": "",
        }
        group = {"labels": {}, "receiver": {"name": "homelab"}, "alerts": [alert]}
        return Answer.of([group] if self.labels else [])


class Chat:
    """Takes messages as Apprise's `json://` sends them."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._server = Server(self._answer)
        self.url = f"json://127.0.0.1:{self._server.port}"

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def _answer(self, asked: Asked) -> Answer:
        self.messages.append(json.dumps(json.loads(asked.body), ensure_ascii=False))
        return Answer.of({})


@dataclass
class Machine:
    host: Host
    prometheus: FakePrometheus
    alertmanager: Alertmanager
    chat: Chat

    def reset(self, world: str) -> None:
        """As it was before anybody wrote on it, with the alert true unless the world is `well`."""
        self.host.reset(stopped=world == "stopped", well=world == "well")
        self.alertmanager.labels, self.alertmanager.comment = {}, ""
        self.alertmanager.posts.clear()
        self.chat.messages.clear()
        series = {"job": "web", "container": OWN, "instance": "web:8080"}
        now = self.prometheus.now = time.time()
        up = {"__name__": "up", **series}
        self.prometheus.samples = {'up{job="web"}': [(series, now - 2)]}
        self.prometheus.rows = {EXPRESSION: [] if world == "well" else [(up, 0)]}
        self.prometheus.ranges = {EXPRESSION: [(up, [(now - 30, "0"), (now - 15, "0")])]}
        self.prometheus.paths = {
            "rules": {"groups": []},
            "alerts": {"alerts": []},
            "targets": {"activeTargets": []},
        }
        self.prometheus.asked.clear()

    def alert_link(self) -> str:
        return f"{self.prometheus.url}/graph?g0.expr={quote(EXPRESSION)}&g0.tab=1"


@contextmanager
def machine() -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine(
            stack.enter_context(Host()),
            stack.enter_context(fake_prometheus.serving(FakePrometheus())),
            stack.enter_context(Alertmanager()),
            stack.enter_context(Chat()),
        )


__all__ = ["EXPRESSION", "HOST", "LAST_WORDS", "NEIGHBOURS", "OWN", "Host", "Machine", "machine"]
