"""A fixture that puts Django of this process, with all its threads, on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from django.core.management import call_command
from django.db import connections

from homelab.env import database_at

from .postgres import Postgres

T = TypeVar("T")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def on_postgres(server: Postgres, tmp_path: Path, django_db_blocker: Any) -> Iterator[None]:
    """An empty database of its own, migrated. No transaction is around the test: all is committed."""
    database = database_at(server.create(f"test_{tmp_path.name}"), "DATABASE_URL")
    mine, before = connections["default"], connections.settings["default"]
    with django_db_blocker.unblock():
        try:
            connections.settings["default"] = connections.configure_settings({"default": database})["default"]
            connections["default"] = connections.create_connection("default")
            call_command("migrate", verbosity=0)
            yield
        finally:
            connections["default"].close()
            connections.settings["default"], connections["default"] = before, mine


def at_once(calls: list[Callable[[], T]]) -> list[T]:
    """What each call gives, all begun at one moment, each on a thread with a connection of its own."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        try:
            start.wait(20)
            return call()
        finally:
            connections["default"].close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls, timeout=60))
