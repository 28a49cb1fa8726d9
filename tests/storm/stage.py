"""What is killed: the program in either mode, and everything that it stands on."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.e2e.fleet import Fleet
from tests.e2e.postgres import Postgres
from tests.e2e.valkey import Valkey
from tests.homelab.program import Program
from tests.incidents.memory.qdrant_server import FakeQdrant

from .plan import Mode, Part
from .records import Records


class Stage(ABC):
    """A running program whose parts can be killed, each part by one caller at a time."""

    parts: tuple[Part, ...]
    working: Part  # the part that claims rows
    program: Program

    @property
    def token(self) -> str:
        return str(self.program.first_run()["tokens"]["ingest"])

    @abstractmethod
    def records(self) -> Records:
        """A connection of its own to the program's database."""

    @abstractmethod
    def kill(self, part: Part) -> None:
        """SIGKILL to a part and everything it forked; it is dead when this returns."""

    @abstractmethod
    def restart(self, part: Part) -> None:
        """Start a part that was killed; returns when it is ready."""


class Production(Stage):
    parts = ("web", "worker", "beat", "broker")
    working: Part = "worker"

    def __init__(self, fleet: Fleet, postgres: Postgres, valkey: Valkey) -> None:
        self.program = self.fleet = fleet
        self._postgres, self._valkey = postgres, valkey

    def records(self) -> Records:
        return Records.postgres(self._postgres.url)

    def kill(self, part: Part) -> None:
        if part == "broker":
            self._valkey.kill()
        else:
            self.fleet.kill_part(part)

    def restart(self, part: Part) -> None:
        if part == "broker":
            self._valkey.start()
        else:
            self.fleet.restart_part(part)


class Embedded(Stage):
    """One process is everything."""

    parts = ("web",)
    working: Part = "web"

    def __init__(self, program: Program) -> None:
        self.program = program

    def records(self) -> Records:
        return Records.sqlite(self.program.data / "homelab.sqlite3")

    def kill(self, part: Part) -> None:
        self.program.kill()

    def restart(self, part: Part) -> None:
        self.program.start()


@contextmanager
def running(mode: Mode, directory: Path, variables: dict[str, str]) -> Iterator[Stage]:
    """The program in a mode, ready to work. PostgreSQL writes its commits through, as in earnest."""
    with ExitStack() as stack:
        if mode == "embedded":
            yield Embedded(stack.enter_context(Program(directory, **variables)))
            return
        postgres = stack.enter_context(Postgres(directory / "postgres", durable=True))
        valkey = stack.enter_context(Valkey(directory / "valkey"))
        qdrant = stack.enter_context(FakeQdrant().running())
        servers = {"database": postgres.url, "broker": valkey.url, "qdrant": qdrant.url}
        fleet = stack.enter_context(Fleet(directory, **servers, **variables))
        yield Production(fleet, postgres, valkey)


def wait_for_inventory(records: Records, containers: int, seconds: float = 60.0) -> None:
    """The first look at the engines, after which alerts find their targets. TimeoutError without it."""
    ends = time.monotonic() + seconds
    while records.count("incidents_target WHERE kind = 'docker'") < containers:
        if time.monotonic() > ends:
            raise TimeoutError(f"after {seconds:g} s the inventory does not hold {containers} containers")
        time.sleep(0.1)
