"""Our PostgreSQL backend: a statement that nobody answers fails, in processes that serve."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import psycopg
import pytest

from homelab import postgresql
from homelab.postgresql.base import Connection, DatabaseWrapper

from .postgres import Postgres

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


def test_a_statement_waits_for_its_answer_so_long_and_no_longer(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Connection.connect(server.url, autocommit=True)) as connection:
        connection.execute("SELECT pg_sleep(0.3)")  # a command may take its time
        monkeypatch.setattr(postgresql, "answer_seconds", 0.2)
        assert connection.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            connection.execute("SELECT pg_sleep(30)")
        with pytest.raises(psycopg.OperationalError):  # an answer that comes late is no answer to this
            connection.execute("SELECT 2")


def test_how_long_is_what_the_kernel_waits(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "answer_seconds", None)
    settings.DATABASES = {"default": {"OPTIONS": {"tcp_user_timeout": "2500"}}}
    postgresql.expect_answers()
    assert postgresql.answer_seconds == 2.5
    settings.DATABASES = {"default": {}}
    postgresql.expect_answers()
    assert postgresql.answer_seconds is None


def test_whether_the_connection_works_is_asked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    asked: list[float] = []

    def is_usable(_: object) -> bool:
        asked.append(clock.now)
        return True

    monkeypatch.setattr(DatabaseWrapper, "is_usable", is_usable)
    wrapper = DatabaseWrapper({"AUTOCOMMIT": True, "OPTIONS": {}})
    monkeypatch.setattr(wrapper, "connection", object())
    monkeypatch.setattr(wrapper, "health_check_enabled", True)
    monkeypatch.setattr(wrapper, "_has_news", lambda: False)
    monkeypatch.setattr(wrapper, "get_autocommit", lambda: True)
    for clock.now in (1000.0, 1000.5, 1000.9, 1001.5, 1002.0):
        wrapper.close_if_unusable_or_obsolete()  # as a request does at its start
        wrapper.close_if_health_check_failed()  # and its first statement
    assert asked == [1000.0, 1001.5]
    clock.now = 1009.0  # a long request: a question between its commit and the next would begin a transaction
    wrapper.close_if_health_check_failed()
    assert asked == [1000.0, 1001.5]
