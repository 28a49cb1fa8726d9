"""The program in one process and one thread, to be killed: its API, tasks and sweeps, and a clock that jumps.

What must survive the process is in its directory: the database, how far the clock has jumped, and what
senders and people heard an answer to. Whoever heard none asks again, as Alertmanager and people do.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from celery import current_app
from django.test import Client
from django.utils import timezone

from agents import advance
from agents import tasks as crew_tasks
from agents.models import Step
from incidents import broker, tasks
from incidents.models import Job
from incidents.queue import HINT_AGAIN, QueueRow, State
from tests.e2e.world import timeline

TOKENS = "tokens"
ROUNDS = 400
IDLE_SECONDS = 5.0
LIVE = (State.WAITING, State.RUNNING)


class Home:
    """`doing`: what the process is at. `expected`: the exception of a task that a life is about."""

    def __init__(self, directory: Path, world_url: str) -> None:
        self.directory = directory
        self.world_url = world_url
        self.client = Client(SERVER_NAME="localhost")
        self.hints: deque[tuple[str, int]] = deque()
        self.doing = "start"
        self.expected: tuple[type[Exception], ...] = ()
        self.ahead = float(self._read("clock") or 0)
        broker.send = self._hinted  # type: ignore[assignment]
        _run_ahead(self)
        _name_steps(self)
        self.tokens: dict[str, str] = json.loads(self._read(TOKENS) or "{}")
        self.began = self._read("began") or self._write("began", timezone.now().isoformat())

    # --- people and senders -------------------------------------------------------------------

    def ask(self, what: str, path: str, body: Any = None, *, role: str = "operator") -> None:
        """A request that is made again by the next process when this one heard no answer."""
        if self.has(what):
            return
        self.doing = f"request {path}"
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        answer = self.client.post(path, body or {}, content_type="application/json", headers=headers)
        # 409 and 410: it was done, and only the answer was lost
        assert answer.status_code in (200, 201, 202, 409, 410), (path, answer.status_code, answer.content)
        self._write(what, str(answer.status_code))

    def do(self, what: str, act: Callable[[], object]) -> None:
        """As `ask`, for what has no route."""
        if not self.has(what):
            self.doing = what
            act()
            self._write(what, "done")

    def has(self, what: str) -> bool:
        return self._read(what) is not None

    def world(self, what: str, value: int) -> None:
        requests.post(f"{self.world_url}/{what}/{value}", timeout=10).raise_for_status()

    # --- worker, sweeps and time ---------------------------------------------------------------

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Work, sweep, and let time pass, until something holds; AssertionError when it never does."""
        for _ in range(ROUNDS):
            self._work()
            if holds():
                return
            self._run(tasks.sweep_records)
            self._run(crew_tasks.sweep_crew)
            if not self.hints:
                self._jump()
        raise AssertionError(f"never {what}:\n{timeline()}\n{self.live()}")

    def until_quiet(self) -> None:
        """Until nothing waits but what recurs."""
        self.until(lambda: not self.live() and not self.hints, "quiet")

    def live(self) -> list[QueueRow]:
        models = [model for model in QueueRow.__subclasses__() if model is not Job]
        return [row for model in models for row in model.queue.filter(state__in=LIVE)]

    def live_of(self, agent: Step.Agent) -> bool:
        return Step.objects.filter(agent=agent, state__in=LIVE).exists()

    def _work(self) -> None:
        while self.hints:
            task, key = self.hints.popleft()
            self._run(current_app.tasks[task], key)

    def _run(self, task: Callable[..., object], *key: int) -> None:
        name = task.name.rpartition(".")[2]  # type: ignore[attr-defined]
        agent = Step.objects.filter(pk=key[0]).values_list("agent", flat=True) if name == "advance" else ()
        self.doing = " ".join([name, *agent])
        with suppress(*self.expected):
            task(*key)

    def _hinted(self, task: str, key: int, *, first: bool = False) -> bool:
        self.hints.append((task, key))
        return True

    def _jump(self) -> None:
        """To the moment when something is due: a row, a lease that ends, a hint that is repeated."""
        now = timezone.now()
        moments = []
        for row in [row for model in QueueRow.__subclasses__() for row in model.queue.filter(state__in=LIVE)]:
            due = row.due_at if row.state == State.WAITING else row.lease_until or now
            moments.append(max(due, row.hinted_at + HINT_AGAIN) if row.hinted_at else due)
        later = [(each - now).total_seconds() for each in moments if each > now]
        self.ahead += min([*later, IDLE_SECONDS]) + 0.01
        self._write("clock", str(self.ahead))

    # --- what survives -----------------------------------------------------------------------

    def _read(self, name: str) -> str | None:
        try:
            return (self.directory / name).read_text()
        except FileNotFoundError:
            return None

    def _write(self, name: str, text: str) -> str:
        (self.directory / name).write_text(text)
        return text


def _name_steps(home: Home) -> None:
    """A worker goes on with what follows a step: that is another kind of work."""
    work = advance._advance

    def named(step: Step) -> None:
        home.doing = f"advance {step.agent}"
        work(step)

    advance._advance = named


def _run_ahead(home: Home) -> None:
    """Django's clock and `time.time` run ahead; deadlines of calls (`time.monotonic`) do not."""
    real_time = time.time

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=home.ahead)

    timezone.datetime = Ahead  # type: ignore[attr-defined]
    time.time = lambda: real_time() + home.ahead
