"""Embedded mode: Celery's worker and beat as threads of the one web process.

Sound only because rows carry the work: what dies with this process is hints, and the sweep repeats
those. Threads do not survive a fork, so everything here is made in the forked web worker.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

from celery import beat
from celery.apps.worker import Worker
from celery.exceptions import SecurityWarning
from celery.worker import state
from django.conf import settings
from django.db import DatabaseError, connection, connections

from homelab import alone, tracing
from homelab.celery import app
from homelab.postgresql import expect_answers
from incidents import liveness, memory, queue

logger = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
JOIN_SECONDS = 10.0
# Long enough for a probe to see the 503 and for the log to be read by somebody, short enough to be soon back.
LAST_WORDS_SECONDS = 3.0
WAL_MILLISECONDS = 1000  # a task that hangs in a transaction must not hold up the stop


class Embedded:
    """The worker, the beat, and a watch over both."""

    def __init__(self, *, stopping: Callable[[], bool]) -> None:
        self._stopping = stopping
        self._stop_asked = threading.Event()
        self._worker = make_worker()
        self._beat = beat.Service(app, max_interval=1, scheduler_cls=beat.Scheduler)
        self._threads = {
            "worker": threading.Thread(target=self._worker.start, name="embedded-worker", daemon=True),
            "beat": threading.Thread(target=self._beat.start, name="embedded-beat", daemon=True),
        }

    def start(self) -> None:
        for name, thread in self._threads.items():
            liveness.register(name, thread.is_alive)
        alone_now = alone.take(settings.DATA_DIR)
        if alone_now:
            self._begin()
        watch = threading.Thread(target=self._watch, args=(alone_now,), name="embedded-watch", daemon=True)
        watch.start()

    def stop(self) -> None:
        """Let running tasks end, for JOIN_SECONDS at most, then give the rest back to whoever comes next."""
        self._ask_to_stop()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads.values():
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads.values()):
            logger.warning("tasks still ran after %g s; their rows are taken up again", JOIN_SECONDS)
        _release()

    def _ask_to_stop(self) -> None:
        self._stop_asked.set()
        state.should_stop = os.EX_OK  # type: ignore[assignment]
        self._beat.stop()

    def _begin(self) -> None:
        if settings.SQLITE:  # a database elsewhere may have workers that our lock knows nothing of
            _log_released(queue.release_orphans())
            connections.close_all()
        for thread in self._threads.values():
            thread.start()

    def _watch(self, begun: bool) -> None:
        """Begin to stop as soon as the web worker does; end the process when a thread is dead."""
        if not begun:
            logger.warning("waiting for another worker on %s to end", settings.DATA_DIR)
            alone.wait(settings.DATA_DIR)
            self._begin()
        while not self._stop_asked.wait(LOOK_SECONDS):
            if self._stopping():
                self._ask_to_stop()
                return
            dead = [name for name, thread in self._threads.items() if not thread.is_alive()]
            if dead:
                logger.critical("embedded %s ended; this process follows, and another starts", dead)
                time.sleep(LAST_WORDS_SECONDS)
                _release()
                os._exit(os.EX_SOFTWARE)


def make_worker() -> Worker:
    """As the command line makes one, but quiet and for threads.

    Its signal handlers are skipped outside the main thread, so gunicorn keeps its own. Checks were run by
    `migrate`; Celery's own run of them would cost a third of the start.
    """
    os.environ.setdefault("CELERY_SKIP_CHECKS", "1")
    options: dict[str, Any] = {
        "pool": "threads",
        "concurrency": settings.WORKER_THREADS,
        "prefetch_multiplier": 0,
        "without_gossip": True,
        "without_mingle": True,
        "without_heartbeat": True,
        "quiet": True,
    }
    with warnings.catch_warnings():
        # "running as root" is about pickle, which is not accepted here, and about a --uid option
        warnings.simplefilter("ignore", SecurityWarning)
        return app.Worker(**options)


def _release() -> None:
    _log_released(queue.release_held())
    connections.close_all()


def _log_released(rows: int) -> None:
    if rows:
        logger.info("%d rows given back to be worked on again", rows)


def _empty_wal() -> None:
    """Move what SQLite's log holds into the database's file, whose plain copy then has everything.

    The threads' connections end with the process and not before it, so that SQLite would not do it.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {WAL_MILLISECONDS}")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            busy, *_ = cursor.fetchone()
        if busy:
            logger.warning("the database was in use to the end; a copy of it needs its -wal file, too")
    except DatabaseError as error:
        logger.warning("what SQLite's log holds stays there: %s", error)
    finally:
        connections.close_all()


_running: Embedded | None = None


def start(stopping: Callable[[], bool]) -> None:
    """Start everything that is not the web. `stopping` says whether the web worker was told to end."""
    global _running  # noqa: PLW0603 one per process, and the hooks that start and stop it share nothing else
    tracing.begin()
    expect_answers()
    memory.fill_in_background()  # in production mode too: every web process recalls
    if settings.EMBEDDED:
        _running = Embedded(stopping=stopping)
        _running.start()


def stop() -> None:
    if _running is not None:
        _running.stop()
        if settings.SQLITE:
            _empty_wal()
    tracing.end()
