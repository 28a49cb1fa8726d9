"""Database connections are kept, because to open one costs PostgreSQL more than many a task does.

Celery's own fixup closes them before and after each task, whatever CONN_MAX_AGE says; here they are kept from
task to task, as Django keeps them from request to request. And a web server's threads have theirs before the
first alerts come.
"""

from __future__ import annotations

import logging
from concurrent.futures import Executor
from functools import cached_property
from threading import Barrier, BrokenBarrierError
from typing import Any

from celery import Celery
from celery.fixups import django as celerys
from django.db import DatabaseError, close_old_connections, connection

logger = logging.getLogger(__name__)
WARM_SECONDS = 10.0


class Connections(celerys.DjangoWorkerFixup):  # type: ignore[name-defined, misc]  # the stubs lack it
    def close_database(self, **_: Any) -> None:
        """Those that are broken, or older than CONN_MAX_AGE."""
        close_old_connections()


class Fixup(celerys.DjangoFixup):
    @cached_property
    def worker_fixup(self) -> Connections:
        return Connections(self.app)


def fixup(app: Celery) -> Fixup:
    """Celery calls it for a new application, and keeps what it returns."""
    made = Fixup(app)
    made.install()
    return made


def warm(pool: Executor, threads: int) -> None:
    """Let each thread of a pool connect, without waiting for it. A database that is away does no harm."""
    together = Barrier(threads)  # else one thread could do it for several

    def connect() -> None:
        try:
            connection.ensure_connection()
        except DatabaseError as error:
            logger.warning("no connection at the start: %s", error)
        try:
            together.wait(WARM_SECONDS)
        except BrokenBarrierError:
            logger.warning("the threads of the web server did not connect together")

    for _ in range(threads):
        pool.submit(connect)
