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
    """Whether the alert's `instance` (host:port) takes a TCP connection; this machine's own only."""
    instance = case.labels.get("instance")
    if instance is None:
        raise ToolError("the alert has no label instance")
    host, port = _host_and_port(instance)
    answer: Answer = "not asked (not this machine)"
    if host == "localhost":
        answer = _ask_localhost(port)
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
    try:
        with socket.socket(_family(host), socket.SOCK_DGRAM) as probe:
            probe.connect((host, SOME_PORT))
            return ipaddress.ip_address(probe.getsockname()[0]) == address
    except OSError:  # no route there, or no such family of addresses here
        return False


def _host_and_port(instance: str) -> tuple[str, int]:
    """ToolError unless it is host:port and nothing more."""
    try:
        parts = urlsplit(f"//{instance}")
        host, port = parts.hostname, parts.port
        whole = parts.netloc == instance and parts.username is None
    except ValueError:
        host, port, whole = None, None, False
    if not (host and port and whole):
        raise ToolError(f"the label instance, {one_line(instance)!r}, is not host:port")
    return host, port


def _ask_localhost(port: int) -> Answer:
    """As a client would: the second address when nobody listens on the first."""
    answer = _ask("127.0.0.1", port)
    if answer == "accepted":
        return answer
    try:
        second = _ask("::1", port)
    except ToolError:  # this machine has no IPv6
        return answer
    return second if second == "accepted" else answer


def _ask(host: str, port: int) -> Answer:
    try:
        with socket.socket(_family(host), socket.SOCK_STREAM) as client:
            client.settimeout(DEADLINE)
            client.connect((host, port))
            # Where nobody listens, a port of those given to clients may be given to this one, which then
            # meets itself.
            return "refused" if client.getsockname() == client.getpeername() else "accepted"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "timed out"
    except OSError as error:
        raise ToolError(f"{host} port {port}: {error.strerror or error}", retryable=True) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
