"""Database connections of the worker last longer than a task, unless they are broken."""

from __future__ import annotations

import pytest
from django.db import connections

from homelab.celery import app
from homelab.connections import Connections

connection = connections["default"]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Filled when the connection is closed."""
    found: list[str] = []
    monkeypatch.setattr(connection, "close", lambda: found.append("closed"))
    monkeypatch.setattr(connection, "close_at", None)  # it may have been open for long
    return found


@pytest.mark.django_db(transaction=True)
def test_a_connection_is_kept_from_task_to_task(closed: list[str]) -> None:
    connection.ensure_connection()
    worker = app._fixups[0].worker_fixup  # type: ignore[attr-defined]  # the stubs lack it
    assert isinstance(worker, Connections)
    worker.close_database()
    assert not closed


@pytest.mark.django_db(transaction=True)
def test_a_broken_connection_is_not(closed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    connection.ensure_connection()
    monkeypatch.setattr(connection, "errors_occurred", True)
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    Connections(app).close_database()
    assert closed
