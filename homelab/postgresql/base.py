"""Django's PostgreSQL, whose statements fail when nobody answers them.

The kernel notices a peer that is gone. One that takes the question and never answers (a server that is
stopped, a proxy before it, an answer that was damaged on its way) it waits for without end, and a web process
would lose a thread to each request.
"""

from __future__ import annotations

import select
import time
from types import SimpleNamespace
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg.abc import RV, PQGen

from homelab import postgresql

POLL_SECONDS = 0.1
CHECK_SECONDS = 1.0
# A worker asks more things than psycopg keeps plans of by itself, and would plan them again and again.
PREPARED_MOST = 300


class Connection(psycopg.Connection[Any]):
    """Everything but the connect, which has its own timeout, waits for the server in `wait`."""

    def wait(self, gen: PQGen[RV], interval: float = POLL_SECONDS, timeout: float | None = None) -> RV:
        return super().wait(gen, interval, postgresql.answer_seconds if timeout is None else timeout)


class DatabaseWrapper(base.DatabaseWrapper):
    sound_until = 0.0  # monotonic
    health_check_done: bool

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        connection.prepared_max = PREPARED_MOST
        return connection

    def close_if_unusable_or_obsolete(self) -> None:
        """After an error a new connection: the old one keeps plans that a migration may have spoilt."""
        if self.connection is not None and not self.in_atomic_block and self.errors_occurred:
            self.close()
        else:
            super().close_if_unusable_or_obsolete()

    def close_if_health_check_failed(self) -> None:
        """Once in CHECK_SECONDS, not with each request: the check is a question of its own.

        Only at a request's start: in the middle it would begin a transaction. One that its other side closed
        is noticed at once; of another end who is unlucky in between gets an error, as in a request that had
        begun, and the next one a new connection.
        """
        if self.health_check_done:
            return
        now = time.monotonic()
        if self.connection is not None and now < self.sound_until and not self._has_news():
            self.health_check_done = True
            return
        super().close_if_health_check_failed()
        self.sound_until = now + CHECK_SECONDS

    def _has_news(self) -> bool:
        """Whether something came though nothing was asked: its end, most likely."""
        if self.connection.closed:
            return True
        looked_at = select.poll()
        looked_at.register(self.connection.pgconn.socket, select.POLLIN)
        return bool(looked_at.poll(0))

    Database = SimpleNamespace(**{**vars(psycopg), "connect": Connection.connect})  # type: ignore[assignment]
