"""The threads of a web server have their connections before the first alerts come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, close_old_connections, connection, connections

from homelab.connections import warm

from .on_postgres import at_once, on_postgres, server

__all__ = ["on_postgres", "server"]
pytestmark = pytest.mark.e2e
THREADS = 4


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool
        everybody(pool, connections.close_all)


def everybody(pool: ThreadPoolExecutor, work: object) -> list[object]:
    """What `work` gives in each thread of the pool."""
    assert callable(work)
    together = threading.Barrier(THREADS)

    def once() -> object:
        together.wait(30)
        return work()

    return [future.result(30) for future in [pool.submit(once) for _ in range(THREADS)]]


def backend() -> object:
    """The server's process for this thread, without connecting."""
    made = connections["default"].connection
    return made and made.info.backend_pid


@pytest.mark.usefixtures("on_postgres")
def test_each_thread_has_a_connection_of_its_own(pool: ThreadPoolExecutor) -> None:
    assert set(everybody(pool, backend)) == {None}
    warm(pool, THREADS)
    backends = everybody(pool, backend)
    assert None not in backends
    assert len(set(backends)) == THREADS


def test_a_database_that_is_away_keeps_no_thread(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: object) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(type(connection._connections["default"]), "ensure_connection", fail)  # type: ignore[attr-defined]
    warm(pool, THREADS)
    assert everybody(pool, lambda: "free") == ["free"] * THREADS
    assert caplog.text.count("no connection at the start: away") == THREADS


@pytest.mark.usefixtures("on_postgres")
def test_a_connection_that_was_just_closed_by_the_server_is_not_used() -> None:
    def ask() -> int:
        """As a request does."""
        close_old_connections()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            found: int = cursor.fetchone()[0]
        close_old_connections()
        return found

    def end(backend: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])

    ask()
    first = ask()  # which is sound for the next second
    at_once([lambda: end(first)])
    assert ask() != first
