"""Production mode as processes: web, worker and beat on one database and one broker.

Each runs as the README says, in a session of its own, and can be killed as a whole: with what it forked.
A further one of a kind has a number: `start_part("worker2")`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal, Self

from tests.homelab.program import ROOT, Program

from .process import wait_until

Part = Literal["web", "worker", "worker2", "beat", "beat2"]
CeleryPart = Literal["worker", "worker2", "beat", "beat2"]
COMMANDS: dict[str, list[str]] = {
    "worker": ["worker", "--concurrency", "2"],
    "beat": ["beat"],
}
READY = {"worker": re.compile(r"\bready\b"), "beat": re.compile(r"is starting")}
START_SECONDS = 60.0


class Fleet(Program):
    """A `Program` whose work is done by a Celery worker with two processes, at the tick of a beat."""

    def __init__(self, directory: Path, *, database: str, broker: str, qdrant: str, **variables: str) -> None:
        production = {"DATABASE_URL": database, "REDIS_URL": broker, "QDRANT_URL": qdrant}
        super().__init__(directory, **production, WEB_CONCURRENCY="2", **variables)
        self.directory = directory
        self._parts: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.kill_all)
            self.start()  # first: it makes the tables
            self.start_part("worker", "beat")
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()
        self.http.close()

    def kill_part(self, name: Part) -> None:
        """SIGKILL to a part and everything it forked, at once."""
        if name == "web":
            self.kill()
        else:
            self._kill(name)

    def _kill(self, name: str) -> None:
        process = self._parts.pop(name, None)
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop_part(self, name: CeleryPart, *, seconds: float = 30.0) -> float:
        """SIGTERM to a part and nothing it forked; how long it took."""
        process = self._parts.pop(name)
        began = time.monotonic()
        process.terminate()
        process.wait(seconds)
        return time.monotonic() - began

    def restart_part(self, name: Part) -> None:
        """Start a part that was killed; returns when it is ready."""
        self.kill_part(name)
        if name == "web":
            self.start()
        else:
            self.start_part(name)

    def start_part(self, *names: CeleryPart) -> None:
        """Start parts that do not run, at the same time; returns when all are ready."""
        for name in names:
            self._spawn(name)
        for name in names:
            self._wait_ready(name)

    def kill_all(self) -> None:
        for name in [*self._parts]:
            self._kill(name)
        self.kill()

    def pid(self, name: CeleryPart) -> int:
        return self._parts[name].pid

    def children(self, name: CeleryPart) -> list[int]:
        """The process ids that a part has forked."""
        pid = self._parts[name].pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def log_of(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def said(self, name: str) -> str:
        return self.log_of(name).read_text(errors="replace")

    def manage(self, *arguments: str) -> str:
        """A command of ours, in the environment of the fleet; its output."""
        argv = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            argv, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"{arguments}: {done.stderr[-3000:]}")
        return done.stdout

    def _spawn(self, name: str) -> None:
        kind = name.rstrip("2")
        argv = [sys.executable, "-m", "celery", "-A", "homelab", *COMMANDS[kind]]
        if kind == "worker":
            argv += ["--hostname", f"{name}@%h"]
        with self.log_of(name).open("wb") as output:
            self._parts[name] = subprocess.Popen(
                argv,
                cwd=ROOT,
                env=self.environment | {"PYTHONUNBUFFERED": "1"},  # or the sign of readiness comes late
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a group of its own, to be killed as one
            )

    def _wait_ready(self, name: str) -> None:
        def ready() -> bool:
            if self._parts[name].poll() is not None:
                raise RuntimeError(f"{name} ended\n{self.said(name)[-3000:]}")
            return bool(READY[name.rstrip("2")].search(self.said(name)))

        wait_until(ready, START_SECONDS, f"{name} is not ready\n{self.said(name)[-3000:]}")
