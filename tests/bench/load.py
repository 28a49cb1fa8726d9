"""A small HTTP/1.1 load generator: kept connections, one request at a time on each, prebuilt bytes."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.e2e.servers import wait_until


@dataclass(frozen=True)
class Load:
    """What a run of requests came to. Latencies in milliseconds."""

    requests: int
    seconds: float
    statuses: dict[int, int]
    p50: float
    p99: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def request_bytes(path: str, body: bytes, *, token: str = "") -> bytes:
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"{authorization}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def run(url: str, make: Callable[[int], bytes], *, concurrency: int, requests: int) -> Load:
    """Send `make(0)`, `make(1)`… over `concurrency` connections; every answer is waited for."""
    prepared = [make(number) for number in range(requests)]
    numbers = iter(range(requests))
    lock, statuses, took = threading.Lock(), Counter[int](), list[float]()

    def take() -> int | None:
        with lock:
            return next(numbers, None)

    def work() -> None:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in iter(take, None):
                began = time.perf_counter()
                connection.sendall(prepared[number])
                status = _read_answer(connection)
                with lock:
                    took.append(time.perf_counter() - began)
                    statuses[status] += 1

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    took.sort()
    return Load(
        requests=len(took),
        seconds=seconds,
        statuses=dict(statuses),
        p50=1000 * took[len(took) // 2],
        p99=1000 * took[min(len(took) - 1, int(len(took) * 0.99))],
    )


def _read_answer(connection: socket.socket) -> int:
    """The status of one answer, its body read to the end."""
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _receive(connection)
    head = bytes(data[:end]).decode("latin-1").lower()
    lengths = [line for line in head.split("\r\n") if line.startswith("content-length:")]
    length = int(lengths[0].split(":", 1)[1])
    while len(data) < end + 4 + length:
        data += _receive(connection)
    return int(head.split(" ", 2)[1])


def _receive(connection: socket.socket) -> bytes:
    chunk = connection.recv(65536)
    if not chunk:
        raise ConnectionError("the server closed the connection in the middle of an answer")
    return chunk


def wait_for_port(url: str) -> None:
    parts = urlsplit(url)

    def answers() -> bool:
        try:
            socket.create_connection((parts.hostname, parts.port), timeout=1).close()
        except OSError:
            return False
        return True

    wait_until(answers, 30, f"nothing listens at {url}")
