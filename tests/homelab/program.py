"""The whole program in a process of its own, as `make run` starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import requests

from tests.e2e.process import free_port, http_session, wait_until

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class Program:
    """`python -m homelab.run` on a port and a data directory of its own."""

    def __init__(self, directory: Path, **variables: str) -> None:
        self.data = directory / "data"
        self.log = directory / "program.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = http_session()
        self.environment = environment(self.data, self.port, **variables)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.http.close()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "homelab.run"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            wait_until(self.is_healthy, START_SECONDS, "the program does not serve")
        except TimeoutError as error:
            self.kill()
            raise RuntimeError(f"{error}\n{self.output()[-3000:]}") from error

    def stop(self) -> tuple[int, float]:
        """SIGTERM; exit code and seconds."""
        assert self._process is not None
        began = time.monotonic()
        self._process.terminate()
        return self._process.wait(STOP_SECONDS), time.monotonic() - began

    def kill(self) -> None:
        """The arbiter and its worker, at once. Harmless when they have ended."""
        if self._process is None or self._process.poll() is not None:
            return
        for pid in (self._process.pid, *self.workers()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    @property
    def arbiter(self) -> int:
        """The process id of gunicorn's first process, the parent of the web workers."""
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """The process ids of the web workers."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with suppress(FileNotFoundError):
            return [int(pid) for pid in children.read_text().split()]
        return []

    def is_healthy(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the program ended with {self._process.returncode}\n{self.output()[-3000:]}")
        with suppress(requests.ConnectionError, requests.Timeout):
            return self.http.get(f"{self.url}/health", timeout=5).ok
        return False

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def first_run(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data / "first-run.json").read_text())
        return found

    def request(
        self, method: str, path: str, *, role: str | None = None, json: object = None
    ) -> requests.Response:
        """With the token of the first run for `role`."""
        headers = {"Authorization": f"Bearer {self.first_run()['tokens'][role]}"} if role else {}
        return self.http.request(method, self.url + path, headers=headers, json=json, timeout=10)


def environment(data: Path, port: int, **variables: str) -> dict[str, str]:
    """Nothing of the caller's but what a process needs to run."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "HOMELAB_DATA_DIR": str(data),
        "HOMELAB_ENV_FILE": os.devnull,
        "DOCKER_HOST": "off",
        "PORT": str(port),
        **variables,
    }
