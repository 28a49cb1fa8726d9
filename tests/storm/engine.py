"""A test Docker Engine: a server of its HTTP API with containers that end, start and are restarted.

It does what an engine does, whoever listens: a restart that was asked for is done though its client is gone.
Shapes, errors and events are those of the API's description (version 1.47).
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

from .containers import IMAGE, Container, frames, nano
from .web import Answer, Asked, Server

API = "1.47"
KEPT_EVENTS = 256  # so many does an engine remember
HEADERS = {
    "Api-Version": API,
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": "Docker/27.3.1 (linux)",
}
NO_PAGE = Answer.of({"message": "page not found"}, 404)


@dataclass
class Call:
    """A request to the engine, as it was logged: times in seconds since 1970, None until then."""

    host: str
    method: str
    path: str
    at: float
    status: int | None = None
    done_at: float | None = None


class Engine:
    """One host's engine. `url` is its DOCKER_HOST; `calls` is the log, which hosts may share.

    `watch(phase, name)` is called for a restart when it was received, done and answered.
    """

    def __init__(
        self,
        host: str,
        names: list[str],
        *,
        calls: list[Call],
        restart_seconds: float = 0.0,
        watch: Callable[[str, str], None] = lambda phase, name: None,
    ) -> None:
        self.host, self.calls, self.restart_seconds, self._watch = host, calls, restart_seconds, watch
        now = time.time()
        self.containers = {name: self._new(name, now) for name in names}
        self._events: deque[dict[str, Any]] = deque(maxlen=KEPT_EVENTS)
        self._server = Server(self._logged, self._sent)
        self.url = self._server.url.replace("http://", "tcp://")

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def _new(self, name: str, now: float) -> Container:
        identity = sha256(f"{self.host}/{name}".encode()).hexdigest()
        lines = [(now - 60, "serving on :8080")]
        return Container(name, identity, now - 3600, started_at=now - 3600, pid=4000, log=lines)

    # --- what happens to containers without anybody asking --------------------------------------
    def crash(self, name: str, code: int = 1) -> float:
        """A container ends by itself; when."""
        container = self.containers[name]
        with container.lock:
            self._end(container, code)
            container.log.append((container.finished_at, "panic: connection pool exhausted"))
            self._event(container, "die", exitCode=str(code), execDuration="3600")
        return container.finished_at

    def start(self, name: str) -> bool:
        """A person starts a container by hand; False when it runs already."""
        container = self.containers[name]
        with container.lock:
            if container.running:
                return False
            self._begin(container)
            self._event(container, "start")
        return True

    def stop(self, name: str) -> bool:
        """Somebody has a container stopped; False when it does not run."""
        container = self.containers[name]
        with container.lock:
            if not container.running:
                return False
            self._stop(container)
        return True

    def _stop(self, container: Container) -> None:
        self._event(container, "kill", signal="15")
        self._end(container, 0)
        self._event(container, "die", exitCode="0", execDuration="1")
        self._event(container, "stop")

    def _end(self, container: Container, code: int) -> None:
        container.running, container.exit_code, container.finished_at = False, code, time.time()

    def _begin(self, container: Container) -> None:
        container.running, container.exit_code, container.started_at = True, 0, time.time()
        container.pid += 1

    def _restart(self, container: Container) -> None:
        with container.lock:
            time.sleep(self.restart_seconds)
            if container.running:
                self._stop(container)
            self._begin(container)
            self._event(container, "start")
            self._event(container, "restart")

    def _event(self, container: Container, action: str, **attributes: str) -> None:
        now = time.time()
        actor = {"ID": container.id, "Attributes": {"image": IMAGE, "name": container.name, **attributes}}
        whole = {"Type": "container", "Action": action, "Actor": actor, "scope": "local"}
        old = {"status": action, "id": container.id, "from": IMAGE}
        self._events.append({**old, **whole, "time": int(now), "timeNano": int(now * 1e9)})

    # --- the API ------------------------------------------------------------------------------
    def _logged(self, asked: Asked) -> Answer:
        call = Call(self.host, asked.method, re.sub(r"^/v[\d.]+(?=/)", "", asked.path), time.time())
        self.calls.append(call)
        answer = self._answer(call.method, call.path, asked.query)
        call.status, call.done_at = answer.status, time.time()
        return Answer(answer.status, answer.body, answer.kind, {**HEADERS, **answer.headers})

    def _sent(self, asked: Asked) -> None:
        parts = asked.path.strip("/").split("/")
        if parts[-1] == "restart" and (container := self._find(parts[-2])) is not None:
            self._watch("answered", container.name)

    def _answer(self, method: str, path: str, query: dict[str, str]) -> Answer:
        match [method, *path.strip("/").split("/")]:
            case ["GET" | "HEAD", "_ping"]:
                return Answer(200, b"OK", "text/plain; charset=utf-8")
            case ["GET", "version"]:
                return Answer.of(_version())
            case ["GET", "info"]:
                return Answer.of(self._info())
            case ["GET", "events"]:
                return self._events_between(query)
            case ["GET", "containers", "json"]:
                return self._list(query)
            case [_, "containers", identity, operation]:
                container = self._find(identity)
                if container is None:
                    return Answer.of({"message": f"No such container: {identity}"}, 404)
                return self._of_container(method, container, operation, query)
        return NO_PAGE

    def _of_container(self, method: str, container: Container, what: str, query: dict[str, str]) -> Answer:
        match method, what:
            case "GET", "json":
                return Answer.of(container.inspection())
            case "GET", "logs":
                return Answer(200, frames(container, query), "application/vnd.docker.multiplexed-stream")
            case "POST", "start":
                return Answer(204 if self.start(container.name) else 304)
            case "POST", "stop":
                return Answer(204 if self.stop(container.name) else 304)
            case "POST", "restart":
                self._watch("received", container.name)
                self._restart(container)
                self._watch("done", container.name)
                return Answer(204)
        return NO_PAGE

    def _find(self, identity: str) -> Container | None:
        """By name, by id, or by the beginning of an id."""
        if identity in self.containers:
            return self.containers[identity]
        found = [each for each in self.containers.values() if each.id.startswith(identity)]
        return found[0] if len(found) == 1 else None

    def _list(self, query: dict[str, str]) -> Answer:
        patterns = json.loads(query.get("filters") or "{}").get("name", [])
        wanted = [
            each
            for each in self.containers.values()
            if (each.running or query.get("all") in ("1", "true", "True"))
            and (not patterns or any(re.search(one, f"/{each.name}") for one in patterns))
        ]
        return Answer.of([each.summary() for each in wanted])

    def _events_between(self, query: dict[str, str]) -> Answer:
        """What is remembered; an `until` that is still to come is waited for, without one nothing is."""
        since, until = (float(query.get(name) or 0) * 1e9 for name in ("since", "until"))
        time.sleep(max(0.0, until / 1e9 - time.time()))
        filters = json.loads(query.get("filters") or "{}")
        of, kinds = filters.get("container", []), filters.get("type", [])
        lines = [
            json.dumps(each)
            for each in list(self._events)
            if since <= each["timeNano"] <= (until or each["timeNano"])
            and (not kinds or each["Type"] in kinds)
            and (not of or each["Actor"]["ID"] in of or each["Actor"]["Attributes"]["name"] in of)
        ]
        return Answer(200, "".join(f"{line}\n" for line in lines).encode())

    def _info(self) -> dict[str, Any]:
        running = sum(each.running for each in self.containers.values())
        return {
            "ID": sha256(self.host.encode()).hexdigest()[:36],
            "Name": self.host,
            "Containers": len(self.containers),
            "ContainersRunning": running,
            "ContainersPaused": 0,
            "ContainersStopped": len(self.containers) - running,
            "ServerVersion": "27.3.1",
            "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
            "OSType": "linux",
            "Architecture": "x86_64",
            "NCPU": 4,
            "MemTotal": 8 * 1024**3,
            "SystemTime": nano(time.time()),
        }


def _version() -> dict[str, Any]:
    return {
        "Platform": {"Name": "Docker Engine - Community"},
        "Version": "27.3.1",
        "ApiVersion": API,
        "MinAPIVersion": "1.24",
        "Os": "linux",
        "Arch": "amd64",
        "KernelVersion": "6.1.0",
    }
