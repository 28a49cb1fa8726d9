"""One embedded worker per data directory, kept so by a lock that the kernel drops when its holder dies.

Two would each have an in-process queue and memory of their own, and the second could not tell a row whose
worker died from one that is being worked on.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from homelab.env import ConfigError

FILE = "worker.lock"


def take(data_dir: Path) -> bool:
    """Become the only worker until this process ends; False while another one is."""
    handle = _open(data_dir)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    return True


def wait(data_dir: Path) -> None:
    """As `take`, once the other one has ended."""
    fcntl.flock(_open(data_dir), fcntl.LOCK_EX)


def check(data_dir: Path) -> None:
    """ConfigError while another worker runs."""
    handle = _open(data_dir)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"HOMELAB_DATA_DIR: another homelab runs on {data_dir}") from error
    finally:
        os.close(handle)


def _open(data_dir: Path) -> int:
    return os.open(data_dir / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
