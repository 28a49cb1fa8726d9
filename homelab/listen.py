"""Where the web server listens, and in how many processes.

Apart from the settings, because reading those makes the data directory, and a taken port must stop the
start before anything is written.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from homelab.env import ConfigError, env, number, read

DEFAULT_PORT = 5000
LOOPBACK = "127.0.0.1"


def address() -> tuple[str, int]:
    """Host and port: HOST (for one start) before HOMELAB_BIND (for good), and PORT."""
    host = read(env.str, "HOST", default="")
    if not _is_address(host):
        host = ""  # some shells keep the machine's own name in HOST; that would open us to the network
    host = host or read(env.str, "HOMELAB_BIND", default=LOOPBACK)
    if not _is_address(host):
        raise ConfigError(f"HOMELAB_BIND: {host!r} is not an IP address; the port is PORT")
    port = number("PORT", DEFAULT_PORT, least=1)
    if port > 65535:
        raise ConfigError(f"PORT: {port} is more than 65535")
    return host, port


def bind() -> str:
    """The address as gunicorn wants it."""
    host, port = address()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local_url() -> str:
    """How programs on this machine reach us."""
    host, port = address()
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def processes(*, embedded: bool) -> int:
    """How many web processes. Embedded there is one: its queue and its memory are its own."""
    count = number("WEB_CONCURRENCY", 1, least=1)
    if embedded and count > 1:
        raise ConfigError("WEB_CONCURRENCY: more than one process needs REDIS_URL and QDRANT_URL")
    return count


def check_free() -> None:
    """ConfigError when the port cannot be had."""
    host, port = address()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # as gunicorn does: connections of a server that just ended do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(_why_not(host, port, error)) from error


def _is_address(text: str) -> bool:
    if text == "localhost":
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"PORT: {port} is taken on {host}; choose another, for example PORT={port + 1}"
    if error.errno == errno.EACCES:
        return f"PORT: {port} needs root; choose one above 1023, for example PORT={DEFAULT_PORT}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"HOMELAB_BIND: {host} is no address of this machine"
    return f"PORT: cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}"
