"""Lives, begun from the outside: a home for each, what became of it, and where it could be killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from tests.crash.order import FOUND, Order
from tests.crash.world import World

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Life:
    """A life that was lived to its end. `found`: its records; `reached`: its points and what it was doing."""

    found: dict[str, Any]
    reached: list[tuple[str, str]]
    messages: Counter[str]
    restarts: int


class Nursery:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.homes = 0
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.crash"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._first = directory / "first"
        self._first.mkdir()
        assert self.run(Order(str(self._first))) == 0, self.errors()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()
        self._server.communicate()

    def home(self) -> Path:
        """A directory with an empty database."""
        self.homes += 1
        return Path(shutil.copytree(self._first, self.directory / str(self.homes)))

    def run(self, order: Order) -> int:
        """The exit code of a process that carries out an order, negative for the signal that killed it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(asdict(order)), file=self._server.stdin, flush=True)
        answer = self._server.stdout.readline()
        assert answer, self.errors()
        return int(answer)

    def live(self, home: Path, name: str, world: World, crash: str | None = None) -> int:
        return self.run(Order(str(home), name, world.engine.url, world.url, crash))

    def whole(self, home: Path, name: str, world: World) -> Life:
        """Live a life to its end."""
        assert self.live(home, name, world) == 0, self.errors()
        found = json.loads((home / FOUND).read_text())
        reached = [(point, doing) for point, doing in found.pop("reached")]
        return Life(found, reached, world.messages, world.restarts)

    def errors(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]
