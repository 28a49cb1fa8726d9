"""A service that is there to be killed: an HTTP server of this Python, in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing

from homelab.demo.client import DemoError

HOST = "127.0.0.1"
START_SECONDS = 15.0


def free_port() -> int:
    with closing(socket.create_server((HOST, 0))) as probe:
        port: int = probe.getsockname()[1]
    return port


class Service:
    """Serves an empty directory on a free port of the loopback."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"{HOST}:{self.port}"
        self._directory = tempfile.TemporaryDirectory(prefix="homelab-demo-")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Its process id, once it accepts connections."""
        command = [sys.executable, "-m", "http.server", "--bind", HOST, str(self.port)]
        # In a session of its own: a Ctrl-C is for the demo, which then ends it.
        process = self._process = subprocess.Popen(  # noqa: S603 our own interpreter, no shell
            command,
            cwd=self._directory.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ends = time.monotonic() + START_SECONDS
        while not self._accepts():
            if process.poll() is not None or time.monotonic() > ends:
                raise DemoError(f"The service of the demo does not start on {self.address}.")
            time.sleep(0.05)
        return process.pid

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory is out. Harmless when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def remove(self) -> None:
        self.kill()
        self._directory.cleanup()

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, self.port)) == 0
