"""Ports, polling, installed binaries and child processes: what the real servers have in common.

Needs neither pytest nor Django. Times are in seconds.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import requests

T = TypeVar("T")
Json = dict[str, Any]

START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
APT_LINE = (
    "apt-get install --no-install-recommends "
    "prometheus prometheus-alertmanager docker.io busybox-static chromium"
)
# Capability -> the groups of binaries it needs; any one name of a group will do.
TOOLS: dict[str, tuple[tuple[str, ...], ...]] = {
    "prometheus": (("prometheus",),),
    "alertmanager": (("prometheus-alertmanager", "alertmanager"),),
    "docker": (("dockerd",), ("containerd",), ("runc",), ("busybox",)),
    "busybox": (("busybox",),),
    "chromium": (("chromium", "chromium-browser", "google-chrome"),),
}
# Below Linux's range for outgoing connections (32768 up), so that no client socket can take
# a port between the moment it is chosen and the moment the server binds it, nor while a
# container that owns it is down.
PORTS = range(15000, 32000)
_taken: set[int] = set()


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listens on and this process was not given before."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _taken:
            _taken.add(port)
            return port


def wait_until(predicate: Callable[[], T | None], timeout: float, message: str, interval: float = 0.05) -> T:
    """Poll ``predicate`` until it returns something truthy, and return that.

    Raises TimeoutError with ``message`` when ``timeout`` seconds have passed.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"after {timeout:g} s: {message}")
        time.sleep(interval)


def which(*names: str) -> str | None:
    """The path of the first of ``names`` that is installed; looks in sbin too, which PATH may lack."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def missing(name: str) -> str | None:
    """Why tool ``name`` (a key of TOOLS) cannot run here and what would mend it; None when it can."""
    for group in TOOLS[name]:
        if which(*group) is None:
            return f"{' or '.join(group)} is not installed: {APT_LINE}"
    if name in ("docker", "busybox") and not _is_static(binary("busybox")):
        return f"busybox is linked dynamically, a container needs the static one: {APT_LINE}"
    if name == "docker" and os.geteuid() != 0:
        return "dockerd needs root: run the tests as root"
    return None


def binary(*names: str) -> str:
    """As ``which``, but raises FileNotFoundError with the apt line when none is installed."""
    found = which(*names)
    if found is None:
        raise FileNotFoundError(f"{' or '.join(names)} is not installed: {APT_LINE}")
    return found


def _is_static(path: str) -> bool:
    """True if the 64-bit ELF file names no interpreter, so runs with no libraries beside it."""
    data = Path(path).read_bytes()
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    interpreter = 3
    return all(struct.unpack_from("<I", data, table + i * size)[0] != interpreter for i in range(count))


def http_session() -> requests.Session:
    """A session for loopback: a proxy named in the environment must not see these requests."""
    session = requests.Session()
    session.trust_env = False
    return session


class Process:
    """A child process with its output in a log file, ended by its own process id."""

    def __init__(self, name: str, argv: Sequence[str], log: Path) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            # Its own session: Ctrl-C must reach only the caller, who then ends the servers in order.
            self._popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.pid = self._popen.pid

    def wait_ready(self, ready: Callable[[], bool], timeout: float = START_TIMEOUT) -> None:
        """Poll ``ready``; raises RuntimeError with the log's end if the process ends or stays unready."""

        def settled() -> bool:
            return self._popen.poll() is not None or ready()

        try:
            wait_until(settled, timeout, f"{self.name} is not ready")
        except TimeoutError as error:
            raise RuntimeError(f"{error}\n{self.tail()}") from error
        if self._popen.returncode is not None:
            raise RuntimeError(f"{self.name} ended with code {self._popen.returncode}\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """Terminate, and kill after STOP_TIMEOUT. Harmless when it has ended already."""
        self._popen.terminate()
        try:
            self._popen.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
