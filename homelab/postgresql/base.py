"""Django's PostgreSQL, whose statements fail when nobody answers them.

The kernel notices a peer that is gone. One that takes the question and never answers (a server that is
stopped, a proxy before it, an answer that was damaged on its way) it waits for without end, and a web process
would lose a thread to each request.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg.abc import RV, PQGen

from homelab import postgresql

POLL_SECONDS = 0.1


class Connection(psycopg.Connection[Any]):
    """Everything but the connect, which has its own timeout, waits for the server in `wait`."""

    def wait(self, gen: PQGen[RV], interval: float = POLL_SECONDS, timeout: float | None = None) -> RV:
        return super().wait(gen, interval, postgresql.answer_seconds if timeout is None else timeout)


class DatabaseWrapper(base.DatabaseWrapper):
    Database = SimpleNamespace(**{**vars(psycopg), "connect": Connection.connect})  # type: ignore[assignment]
