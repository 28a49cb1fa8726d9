"""The guard that keeps the tests on this machine does so, whoever opens the connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.network_guard import NetworkReached

# Of the ranges for documentation: nobody is there.
ELSEWHERE = ("192.0.2.1", 80)


def udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"?", ELSEWHERE)


def quietly() -> None:
    with socket.socket() as client:
        client.connect_ex(ELSEWHERE)


WAYS: list[Callable[[], object]] = [
    lambda: socket.create_connection(ELSEWHERE, timeout=1),
    lambda: socket.create_connection(("2001:db8::1", 80), timeout=1),
    quietly,
    udp,
    lambda: socket.getaddrinfo("example.org", 80),
    lambda: socket.gethostbyname("example.org"),
    lambda: requests.get("http://example.org/", timeout=1),
]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_elsewhere_is_reached(way: Callable[[], object]) -> None:
    with pytest.raises(NetworkReached, match="loopback addresses only"):
        way()


def test_threads_are_watched_too() -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            quietly()
        except NetworkReached as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    assert len(caught) == 1


def test_this_machine_is_reached(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, server.getsockname()[1]), timeout=5).close()
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
