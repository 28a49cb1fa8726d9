"""No test reaches anything but this machine: every connection and look-up of this process is watched.

An audit hook sees what Python's sockets do in every thread and fixture, from the first import on, and no test
can take it off. Out of its reach are programs that a test starts, and C libraries with sockets of their own
(PostgreSQL's): they are given loopback addresses only.
"""

from __future__ import annotations

import socket
import sys
from ipaddress import ip_address
from typing import Any

WATCHED = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
LOOKED_UP = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
OWN_NAMES = frozenset({"", "localhost", "localhost.localdomain", socket.gethostname()})


class NetworkReached(AssertionError):
    """A test tried to talk to another machine."""


def install() -> None:
    sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in WATCHED:
        endpoint, address = arguments
        # Connecting a datagram socket asks the kernel for a route, and sends nothing.
        only_asks = event == "socket.connect" and endpoint.type == socket.SOCK_DGRAM
        # A unix socket's address is its path; a connected socket sends without one.
        if isinstance(address, tuple) and not only_asks and not _is_here(address[0]):
            raise NetworkReached(f"a test connects to {address}; tests reach loopback addresses only")
    elif event in LOOKED_UP and not _is_here(arguments[0]):
        raise NetworkReached(f"a test looks up {arguments[0]!r}; tests reach loopback addresses only")


def _is_here(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or name in OWN_NAMES:
        return True
    try:
        address = ip_address(str(name).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
