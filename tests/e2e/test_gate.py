"""Who gets in, with the real servers: gunicorn before Django, and PostgreSQL behind it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from django.test import RequestFactory

from incidents import throttle
from tests.homelab.program import Program

from .on_postgres import at_once, on_postgres, server

__all__ = ["on_postgres", "server"]  # fixtures
pytestmark = pytest.mark.e2e


@pytest.mark.usefixtures("on_postgres")
def test_guesses_at_one_moment_are_counted_one_by_one() -> None:
    throttle.attempt(RequestFactory().get("/"), "login")
    guesses = [
        lambda: throttle.attempt(RequestFactory().get("/"), "login") for _ in range(throttle.ALLOWED * 2)
    ]
    assert at_once(guesses).count(None) == throttle.ALLOWED - 1
    throttle.refund(RequestFactory().get("/"), "login")
    assert throttle.attempt(RequestFactory().get("/"), "login") is None


def status(program: Program, *lines: str) -> int:
    """Of a request for the overview with exactly these header lines, which no client would send."""
    with socket.create_connection(("127.0.0.1", program.port), timeout=10) as connection:
        head = ["GET / HTTP/1.1", "Host: localhost", "Connection: close", "Accept: text/html", *lines]
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        return int(connection.makefile("rb").readline().split()[1])


def test_a_proxys_word_through_gunicorn(tmp_path: Path) -> None:
    sso = {"REMOTE_USER_HEADER": "Remote-User", "SSO_GROUPS": "family=viewer,bosses=admin"}
    with Program(tmp_path, TRUSTED_PROXIES="127.0.0.0/8", **sso) as program:
        signed = ("Remote-User: kim", "Remote-Groups: family")
        assert status(program, *signed) == 200
        assert status(program, "Remote-User: kim", "Remote-Groups: strangers") == 403
        # a proxy that drops these headers from requests may let such pass, and WSGI would take them for those
        assert status(program, "Remote_User: kim", "Remote_Groups: bosses") == 302
        assert status(program, "Remote-User: kim", "Remote_Groups: bosses") == 403
        # sent twice: the client's own, and the proxy's after it
        assert status(program, "Remote-User: robin", *signed) == 403
    (tmp_path / "other").mkdir()
    with Program(tmp_path / "other", TRUSTED_PROXIES="192.0.2.0/24", **sso) as program:
        assert status(program, *signed) == 302
        assert status(program, *signed, "X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7") == 302
