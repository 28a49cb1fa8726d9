"""Crash points: for tests, this process kills itself just before or just after a commit.

Every commit has a name, that of the function which commits; a single write without a transaction is a commit,
too. `HOMELAB_CRASH_AT=agents.executor._begin:after` is the moment after that commit and before anything that
follows it; `#2` is the second time it is reached. Unless the variable is set, nothing of this is in the way.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pkgutil
import re
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from homelab.env import ConfigError

logger = logging.getLogger(__name__)
VARIABLE = "HOMELAB_CRASH_AT"
# Who finds it was started anew after the crash, with the same environment, and goes on.
MARKER = "crashed"
OURS = ("agents.", "homelab.", "incidents.", "metrics.")
WRITERS = ("incidents.rawsql.", "incidents.rawinsert.")  # for others, after whom the point is named
WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
POINT = re.compile(r"(?P<function>[\w.]+):(before|after)(#(?P<time>[1-9]\d*))?", re.ASCII)
Reached = Callable[[str], None]


@dataclass
class Crash:
    """Kills this process at a point, the given time it is reached, and only once for a data directory."""

    point: str
    time: int
    marker: Path
    times: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, point: str) -> None:
        if point != self.point:
            return
        with self.lock:
            self.times += 1
            if self.times != self.time:
                return
        try:
            self.marker.open("x").close()
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def install(value: str, data_dir: Path) -> None:
    """Crash where the variable's value says. ConfigError when no function is called so."""
    crash = parse(value, data_dir)
    logger.warning("%s: this process kills itself at %s", VARIABLE, value)
    watch(crash)


def parse(value: str, data_dir: Path) -> Crash:
    found = POINT.fullmatch(value)
    if found is None:
        raise ConfigError(
            f"{VARIABLE}: {value!r} is no FUNCTION:before or FUNCTION:after, nor one with #TIME"
        )
    function = found["function"]
    try:
        known = function.startswith(OURS) and callable(pkgutil.resolve_name(function))
    except (ImportError, AttributeError, ValueError):
        known = False
    if not known:
        raise ConfigError(f"{VARIABLE}: no function is called {function}")
    return Crash(value.partition("#")[0], int(found["time"] or 1), data_dir / MARKER)


def watch(reached: Reached) -> None:
    """Call `reached` with the name of each point from now on, in the thread that is at it."""
    commit = BaseDatabaseWrapper.commit

    @functools.wraps(commit)
    def watched(self: BaseDatabaseWrapper) -> None:
        name = _who()
        reached(f"{name}:before")
        commit(self)
        reached(f"{name}:after")  # what waits for the commit (hints) is done when this method has returned

    def around_write(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if context["connection"].in_atomic_block or not WRITES.match(sql):
            return execute(sql, params, many, context)
        name = _who()
        reached(f"{name}:before")
        result = execute(sql, params, many, context)
        reached(f"{name}:after")
        return result

    def begin(connection: BaseDatabaseWrapper, **_: Any) -> None:
        if around_write not in connection.execute_wrappers:
            connection.execute_wrappers.append(around_write)

    BaseDatabaseWrapper.commit = watched  # type: ignore[method-assign]
    connection_created.connect(begin, weak=False)


def _who() -> str:
    """The innermost function of ours that is running; of Django's own commits, who made it commit."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if (name := _name(frame)).startswith(OURS) and not name.startswith(WRITERS):
            return name
        frame = frame.f_back
    return "django"


def _name(frame: FrameType) -> str:
    """Of a frame's function, or of the one that it is the inside of."""
    if frame.f_globals is vars(contextlib) and "func" in frame.f_locals:
        function = frame.f_locals["func"]  # under `@transaction.atomic`, which commits when it has returned
        return f"{function.__module__}.{function.__qualname__}"
    return f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname}".partition(".<locals>")[0]
