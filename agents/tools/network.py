"""The network as this machine sees it: whether something listens where an alert says that a service is.

Labels come from whoever sends alerts. A tool that connected wherever they point would be a port scanner in
the hands of a stranger, so it connects to addresses of this very machine alone, and sends nothing there.
Names are not looked up either, as a look-up tells a stranger's name server that we asked.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Literal
from urllib.parse import urlsplit

from agents.tools.base import Case, Health, Integration, Result, ToolError, register, tool
from agents.tools.text import one_line

Answer = Literal["accepted", "refused", "timed out", "not asked (not this machine)"]
DEADLINE = 2.0  # seconds for a connection
LOCALHOST = "localhost"
LOOPBACK = ("127.0.0.1", "::1")
SOME_PORT = 9  # a datagram socket wants one to be "connected", which sends nothing

NETWORK = register(
    Integration(
        name="network",
        configured=lambda: True,
        check=lambda: Health(True, "connects to addresses of this machine only"),
    )
)


@tool(NETWORK, topics=("instance", "service", "down", "tcp", "port", "connection", "refused"))
def tcp_connect(case: Case) -> Result:
    """Whether the alert's own `instance` (host:port) accepts a TCP connection. This machine's addresses only."""
    instance = case.labels.get("instance")
    if instance is None:
        raise ToolError("the alert has no label instance")
    host, port = _host_and_port(instance)
    answer: Answer = "not asked (not this machine)"
    if host == LOCALHOST:
        # As a client would: the first of its two addresses that somebody listens on.
        answers = [_ask(address, port) for address in LOOPBACK if _has_family(address)]
        answer = "accepted" if "accepted" in answers else answers[0]
    elif is_own(host):
        answer = _ask(host, port)
    address = one_line(instance)
    return Result(f"address: {address}\nresult: {answer}", {"address": address, "result": answer})


def is_own(host: str) -> bool:
    """Whether a literal IP address is this machine's: a loopback address, or one of an interface.

    What the kernel would send from tells: only traffic to an own address leaves from that same address.
    Binding to it would not do: `ip_nonlocal_bind`, common beside floating addresses, lets any be bound.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    if address.is_unspecified or address.is_multicast:
        return False
    with socket.socket(_family(host), socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, SOME_PORT))
        except OSError:
            return False
        return bool(probe.getsockname()[0] == host)


def _host_and_port(instance: str) -> tuple[str, int]:
    """ToolError unless it is host:port and nothing more."""
    try:
        parts = urlsplit(f"//{instance}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.netloc != instance or "@" in instance:
        raise ToolError(f"the label instance, {one_line(instance)!r}, is not host:port")
    return host, port


def _ask(host: str, port: int) -> Answer:
    with socket.socket(_family(host), socket.SOCK_STREAM) as client:
        client.settimeout(DEADLINE)
        try:
            client.connect((host, port))
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "timed out"
        except OSError as error:
            raise ToolError(f"{host} port {port}: {error.strerror or error}", retryable=True) from error
        # Where nobody listens, a port that is given to clients can be given to this one, which then
        # meets itself.
        return "refused" if client.getsockname() == client.getpeername() else "accepted"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _has_family(host: str) -> bool:
    """A machine may have no IPv6 at all; then `::1` is nobody's address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) if ":" not in host else _ipv6() as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
        return True
