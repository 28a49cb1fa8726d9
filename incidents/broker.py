"""Hints on their way to the workers. A broker that is away costs the sender no time.

What must happen is committed before a hint is sent, and the sweep repeats what was not sent. So nothing is
tried twice here; and after some failures nothing is tried at all for a moment, for one request may bring a
hundred alerts, and each would wait.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError
from kombu.pools import ProducerPool

from incidents import tracing
from incidents.context import Origin

logger = logging.getLogger(__name__)
HINT_EXPIRES = 30
# The workers' connections wait longer; a sender has somebody waiting for its answer.
TRANSPORT = {"socket_connect_timeout": 0.3, "socket_timeout": 0.3, "max_retries": 0}
# What reading an answer that was damaged on its way ends in, besides the broker library's own errors.
GARBLED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
# Redis keeps a list for each step of three; a worker looks into that of 0 first.
FIRST, IN_TURN = 0, 3
KEYS_AT_ONCE = 20  # with one message; the others may go to other workers
PRODUCERS = 10  # as many as Celery's own pool has


@dataclass
class Breaker:
    """Lets one through every PAUSE_SECONDS while the broker is away, and says so once a minute."""

    FAILURES = 2
    PAUSE_SECONDS = 3.0
    SAY_SECONDS = 60.0

    failures: int = 0
    unsent: int = 0
    next_try: float = 0.0
    said_at: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)

    def lets_through(self) -> bool:
        with self.lock:
            now = time.monotonic()
            if self.failures >= self.FAILURES:
                if now < self.next_try:
                    self.unsent += 1
                    return False
                self.next_try = now + self.PAUSE_SECONDS  # the others wait for what becomes of this one
            return True

    def failed(self, error: Exception) -> None:
        with self.lock:
            now = time.monotonic()
            self.failures += 1
            self.unsent += 1
            self.next_try = now + self.PAUSE_SECONDS
            if now - self.said_at >= self.SAY_SECONDS:
                self.said_at = now
                logger.warning("broker: %s; rows wait for the sweep (%d hints unsent)", error, self.unsent)

    def worked(self) -> None:
        if not self.failures:
            return
        with self.lock:
            logger.info("broker: answers again (%d hints were not sent)", self.unsent)
            self.failures = self.unsent = 0
            self.said_at = float("-inf")


_breaker = Breaker()


def send(task: str, *keys: int, first: bool = False) -> bool:
    """Tell a worker to run the task, by its full name, with primary keys; False when nobody was told.

    `first`: before everything that waits in turn.
    """
    if not _breaker.lets_through():
        return False
    try:
        with _producers().acquire(block=True) as producer:
            current_app.send_task(
                task,
                keys,
                producer=producer,
                retry=False,
                expires=HINT_EXPIRES,
                priority=FIRST if first else IN_TURN,
                headers=tracing.headers(),
            )
    except (OperationalError, *GARBLED) as error:
        _breaker.failed(error)
        return False
    _breaker.worked()
    return True


def post(task: str, *keys: int) -> None:
    """As `send`, for who cannot wait; keys that come within a moment share their messages.

    In one process, where a message costs next to nothing, it is sent at once.
    """
    if settings.EMBEDDED:
        _send_some(task, keys)
    else:
        _letterbox.put(task, keys)


def _send_some(task: str, keys: Sequence[int]) -> None:
    for start in range(0, len(keys), KEYS_AT_ONCE):
        send(task, *keys[start : start + KEYS_AT_ONCE])


class Letterbox:
    """Emptied by a thread of its own: at once, and then no oftener than EVERY_SECONDS.

    What a dying process leaves in it is for the sweep.
    """

    EVERY_SECONDS = 0.05

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._keys: dict[str, list[int]] = {}
        self._origins: set[Origin] = set()
        self._thread: threading.Thread | None = None

    def put(self, task: str, keys: Sequence[int]) -> None:
        origin = tracing.origin()
        with self._lock:
            self._keys.setdefault(task, []).extend(keys)
            self._origins.add(origin)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._empty, name="letterbox", daemon=True)
                self._thread.start()
        self._some.set()

    def _empty(self) -> None:
        while self._some.wait():
            self._some.clear()
            with self._lock:
                taken, self._keys = self._keys, {}
                origins, self._origins = self._origins, set()
            with tracing.on_behalf_of(origins):
                for task, keys in taken.items():
                    _send_some(task, keys)
            time.sleep(self.EVERY_SECONDS)


_letterbox = Letterbox()


@cache
def _producers() -> Any:
    connection = current_app.connection_for_write(transport_options=TRANSPORT)
    return ProducerPool(connection.Pool(PRODUCERS), limit=PRODUCERS)


def _forget_parent() -> None:
    """After a fork: the parent's sockets are not ours, and its lock may be taken."""
    global _breaker, _letterbox
    _producers.cache_clear()
    _breaker, _letterbox = Breaker(), Letterbox()


os.register_at_fork(after_in_child=_forget_parent)
