"""A broker that is away costs the sender no time, is tried again now and then, and is said once a minute."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from incidents import broker
from tests.e2e.process import free_port, wait_until

TASK = "incidents.tasks.run_job"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(broker, "_breaker", broker.Breaker())
    broker._producers.cache_clear()
    yield
    broker._producers.cache_clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(broker, "time", made)
    return made


class App:
    """A Celery application whose broker answers or does not."""

    def __init__(self) -> None:
        self.away = False
        self.sent: list[int] = []
        self.tried = 0

    def send_task(self, name: str, args: tuple[int], **options: Any) -> None:
        assert options["retry"] is False
        self.tried += 1
        if self.away:
            raise OperationalError("Connection refused")
        self.sent.append(args[0])

    def connection_for_write(self, **options: Any) -> Any:
        return Celery(broker="memory://").connection_for_write(**options)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    made = App()
    monkeypatch.setattr(broker, "current_app", made)
    return made


def test_after_some_failures_nobody_waits_for_it_and_then_one_tries(app: App, clock: Clock) -> None:
    app.away = True
    assert [broker.send(TASK, number) for number in range(100)] == [False] * 100
    assert app.tried == broker.Breaker.FAILURES
    clock.now += broker.Breaker.PAUSE_SECONDS
    assert [broker.send(TASK, number) for number in range(100)] == [False] * 100
    assert app.tried == broker.Breaker.FAILURES + 1


def test_it_is_used_again_as_soon_as_it_answers(app: App, clock: Clock) -> None:
    app.away = True
    for number in range(5):
        broker.send(TASK, number)
    app.away = False
    clock.now += broker.Breaker.PAUSE_SECONDS
    assert [broker.send(TASK, number) for number in (6, 7)] == [True, True]
    assert app.sent == [6, 7]


def test_it_is_said_once_a_minute(app: App, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    app.away = True
    for number in range(600):  # two minutes
        broker.send(TASK, number)
        clock.now += 0.2
    said = [
        each for each in caplog.records if (each.name, each.levelno) == (broker.__name__, logging.WARNING)
    ]
    assert len(said) == 2
    assert "Connection refused" in said[0].getMessage()


NOT_WAITED_FOR = 4.0  # seconds; below every timeout and pause that the options would give it


@pytest.fixture
def silent() -> Iterator[str]:
    """A Redis URL where somebody accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"


def seconds_for_a_hint(monkeypatch: pytest.MonkeyPatch, url: str) -> float:
    options = {"visibility_timeout": 600, "socket_connect_timeout": 5, "socket_timeout": 5}
    app = Celery(broker=url, broker_transport_options=options)
    monkeypatch.setattr(broker, "current_app", app)
    assert not broker.send(TASK, 1)  # the first one also imports the transport
    began = time.monotonic()
    assert not broker.send(TASK, 1)
    return time.monotonic() - began


def test_a_broker_that_refuses_is_not_tried_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seconds_for_a_hint(monkeypatch, f"redis://127.0.0.1:{free_port()}/0") < NOT_WAITED_FOR


def test_a_broker_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, silent: str) -> None:
    assert seconds_for_a_hint(monkeypatch, silent) < NOT_WAITED_FOR


def test_keys_that_are_posted_within_a_moment_share_their_messages(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMBEDDED = False
    sent: list[tuple[int, ...]] = []
    gone = threading.Event()

    def send(task: str, *keys: int) -> bool:
        sent.append(keys)
        first = len(sent) == 1
        return gone.wait(10) if first else True  # while the first is on its way, the others gather

    monkeypatch.setattr(broker, "send", send)
    monkeypatch.setattr(broker, "_letterbox", broker.Letterbox())
    broker.post(TASK, 0)
    wait_until(lambda: bool(sent), 10, "the first was not sent")
    for number in range(1, 26):
        broker.post(TASK, number)
    gone.set()
    wait_until(lambda: len(sent) == 3, 10, f"sent: {sent}")
    assert sent == [(0,), tuple(range(1, 21)), tuple(range(21, 26))]


def test_in_one_process_they_are_sent_at_once(app: App) -> None:
    broker.post(TASK, 1)
    assert app.sent == [1]
