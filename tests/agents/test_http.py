"""One JSON GET: its deadline, its cap, its redirects, and no credentials in what it says."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import Any

import pytest

from agents.tools.base import ToolError
from agents.tools.http import AnswerError, get_json, post_json, within, without_credentials
from tests.agents.fake_prometheus import serve
from tests.e2e.process import free_port

Reply = Callable[[BaseHTTPRequestHandler], None]
Serve = Callable[[Reply], str]


@pytest.fixture
def reply_with() -> Iterator[Serve]:
    """Serve a function that answers each GET; the URL."""
    with ExitStack() as stack:

        def start(reply: Reply) -> str:
            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def do_GET(self) -> None:
                    reply(self)

                do_POST = do_GET

                def log_message(self, *_: object) -> None:
                    pass

            return stack.enter_context(serve(Handler))

        yield start


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def failing(url: str, **options: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        get_json(url, **options)
    return caught.value


def test_json_comes_back(reply_with: Serve) -> None:
    url = reply_with(lambda handler: send(handler, json.dumps({"path": handler.path}).encode()))
    assert get_json(f"{url}/a", {"query": 'up{job="a b"}'}) == {"path": "/a?query=up%7Bjob%3D%22a+b%22%7D"}


def test_compressed_and_chunked_answers_are_read(reply_with: Serve) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        body = gzip.compress(json.dumps(["x" * 100_000]).encode())
        for part in (body[:20], body[20:]):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")

    assert get_json(reply_with(reply)) == ["x" * 100_000]


def test_an_answer_that_drips_is_given_up_at_the_deadline(reply_with: Serve) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(20):
            handler.wfile.write(b" ")
            time.sleep(0.1)

    started = time.monotonic()
    error = failing(reply_with(reply), deadline=0.4)
    assert time.monotonic() - started < 1
    assert (error.retryable, "no answer" in str(error)) == (True, True)


def test_headers_that_drip_are_given_up_at_the_deadline(reply_with: Serve) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: 1":
            handler.wfile.write(bytes([byte]))
            time.sleep(0.1)

    started = time.monotonic()
    failing(reply_with(reply), deadline=0.4)
    assert time.monotonic() - started < 1


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert failing(f"http://127.0.0.1:{silent.getsockname()[1]}", deadline=0.3).retryable


def test_too_much_is_refused(reply_with: Serve) -> None:
    url = reply_with(lambda handler: send(handler, b'"' + b"x" * 5000 + b'"'))
    assert "more than 1000 bytes" in str(failing(url, max_bytes=1000))


def test_a_compressed_answer_counts_as_what_it_becomes(reply_with: Serve) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    url = reply_with(lambda handler: send(handler, bomb, Content_Encoding="gzip"))
    assert "more than 100000 bytes" in str(failing(url, max_bytes=100_000))


def test_what_is_not_json_says_so(reply_with: Serve) -> None:
    url = reply_with(lambda handler: send(handler, b"<html>login</html>"))
    error = failing(url)
    assert (error.retryable, "not JSON" in str(error)) == (False, True)
    assert "not JSON" in str(failing(reply_with(lambda handler: send(handler, b"[" * 100_000))))


@pytest.mark.parametrize(
    ("status", "body", "retryable", "parsed"),
    [
        (400, b'{"error":"bad"}', False, {"error": "bad"}),
        (401, b"Unauthorized", False, None),
        (404, b"", False, None),
        (429, b"", True, None),
        (502, b"<html>", True, None),
        (503, b'{"error":"late"}', True, {"error": "late"}),
    ],
)
def test_other_answers_than_success(
    reply_with: Serve, status: int, body: bytes, retryable: bool, parsed: Any
) -> None:
    error = failing(reply_with(lambda handler: send(handler, body, status)))
    assert isinstance(error, AnswerError)
    assert (error.status, error.retryable, error.body) == (status, retryable, parsed)


def test_a_redirect_within_the_server_is_followed_with_credentials(reply_with: Serve) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/new":
            send(handler, json.dumps(handler.headers["Authorization"]).encode())
        else:
            send(handler, b"", 302, Location="/new")

    url = reply_with(reply).replace("://", "://ann:p%40ss@")
    assert get_json(f"{url}/old") == "Basic " + base64.b64encode(b"ann:p@ss").decode()


def test_a_redirect_to_another_server_is_refused(reply_with: Serve) -> None:
    asked: list[str] = []
    other = reply_with(lambda handler: asked.append(handler.path))
    url = reply_with(lambda handler: send(handler, b"", 307, Location=f"{other}/stolen"))
    assert "redirects to another server" in str(failing(url.replace("://", "://ann:secret@")))
    assert asked == []


def test_a_redirect_in_a_circle_ends(reply_with: Serve) -> None:
    url = reply_with(lambda handler: send(handler, b"", 302, Location="/again"))
    assert "redirects more than" in str(failing(url))


@pytest.mark.parametrize("path", ["", "/html", "/away", "/late"])
def test_no_error_tells_the_credentials(reply_with: Serve, path: str) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/away":
            send(handler, b"", 302, Location="http://bob:secret@127.0.0.2/")
        elif handler.path == "/late":
            time.sleep(0.5)
        else:
            send(handler, b"<html>", 200 if handler.path == "/html" else 500)

    url = reply_with(reply).replace("://", "://ann:secret@") + path
    assert "secret" not in str(failing(url, deadline=0.3))


def test_an_unreachable_server_is_named_without_credentials() -> None:
    port = free_port()
    error = failing(f"http://ann:secret@127.0.0.1:{port}/prometheus")
    assert str(error) == f"cannot reach http://127.0.0.1:{port}/prometheus: Connection refused"
    assert error.retryable


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("get http://a:b@host/x failed", "get http://host/x failed"),
        ("https://token@host:1/", "https://host:1/"),
        ("http://host/a@b and http://c:d@e", "http://host/a@b and http://e"),
        ("mail to a@b", "mail to a@b"),
    ],
)
def test_credentials_are_dropped_from_text(text: str, clean: str) -> None:
    assert without_credentials(text) == clean


def test_who_waits_for_a_late_answer_keeps_nobody_waiting() -> None:
    released = Event()
    for _ in range(2):  # whatever threads were left over
        with pytest.raises(TimeoutError):
            within(0.05, released.wait)
    assert within(5.0, lambda: "on time") == "on time"
    released.set()


def test_a_connection_is_kept_and_anew_when_its_server_closed_it(reply_with: Serve) -> None:
    callers: list[int] = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        callers.append(handler.client_address[1])
        # The third answer is the last on its connection, which does not say so.
        handler.close_connection = len(callers) == 3
        handler.send_response(200)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")

    url = reply_with(reply)
    assert [get_json(url) for _ in range(5)] == [{}] * 5
    kept, anew = callers[:3], callers[3:]
    assert len(set(kept)) == len(set(anew)) == 1
    assert set(kept) != set(anew)


def test_a_change_is_sent_on_a_connection_of_its_own_and_once(reply_with: Serve) -> None:
    heard: list[tuple[int, bytes]] = []

    def hear(handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        heard.append((handler.client_address[1], body))
        if handler.command == "POST":
            handler.close_connection = True  # without a word
        else:
            send(handler, b"{}", Connection="keep-alive")

    url = reply_with(hear)
    get_json(url)
    with pytest.raises(ToolError) as caught:
        post_json(url, {"comment": "größer"})
    assert caught.value.unanswered
    [(kept, _), (own, body)] = heard
    assert kept != own
    assert json.loads(body) == {"comment": "größer"}
