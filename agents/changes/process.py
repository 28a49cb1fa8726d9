"""Runs an argument list as a process of this machine: no shell, nothing of our environment, not for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from agents.tools.base import ToolError

KEPT = ("PATH", "HOME", "LANG")  # of our environment, which holds secrets besides
MAX_OUTPUT = 4000  # bytes, the last ones
DRAIN_SECONDS = 2.0
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Ran:
    """`output`: what it wrote to both streams, the end of it when it is long."""

    code: int
    output: str


def run(argv: Sequence[str], *, seconds: float) -> Ran:
    """Run it to its end. ToolError when it cannot be started, or is not done in time and is killed."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="homelab-maintenance-") as folder:
        try:
            process = subprocess.Popen(  # noqa: S603 the owner's own list, no shell
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ToolError(f"{argv[0]} cannot be started: {error}") from error
        return _wait(process, argv[0], seconds)


def _wait(process: subprocess.Popen[bytes], name: str, seconds: float) -> Ran:
    assert process.stdout is not None
    kept = bytearray()
    reader = threading.Thread(target=_read, args=(process.stdout, kept), daemon=True)
    reader.start()
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # all that it started, unless that left its session
        process.wait()
        raise ToolError(f"{name} was not done in {seconds:g} s and was killed") from error
    finally:
        reader.join(DRAIN_SECONDS)  # a process that it left behind may hold the pipe open
    return Ran(code, _text(bytes(kept)))


def _text(output: bytes) -> str:
    """Without the line, or the word, that was cut: a secret without its name would not be known for one."""
    if len(output) == MAX_OUTPUT:
        output = output.partition(b"\n" if b"\n" in output.strip() else b" ")[2]
    return output.decode(errors="backslashreplace").strip()


def _read(stream: IO[bytes], kept: bytearray) -> None:
    """To the end, so that it never waits for us; only the last of it is kept."""
    with stream:
        while chunk := os.read(stream.fileno(), _CHUNK):
            kept += chunk
            del kept[:-MAX_OUTPUT]
