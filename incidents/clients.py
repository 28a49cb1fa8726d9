"""Where a request comes from. What a request says of itself counts only when a trusted proxy says it."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:  # the log asks for addresses, too, and is set up before the settings are there
    from django.http import HttpRequest
    from rest_framework.request import Request

UNKNOWN = "unknown"
HOUSEHOLD = 64  # an IPv6 network of this length is one subscriber's, who may use any address of it


def from_trusted_proxy(request: HttpRequest | Request) -> bool:
    """Whether the other end of the connection is one of TRUSTED_PROXIES."""
    return _trusted(request.META.get("REMOTE_ADDR", ""))


def address(request: HttpRequest | Request) -> str:
    """The client's IP address; of a trusted proxy's request the last one in X-Forwarded-For that is not ours.

    What stands before that one was sent by the client and may be anything. `unknown` without any address.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    if not _trusted(peer):
        return _plain(peer) or UNKNOWN
    for each in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        found = _plain(each)
        if found is None:
            break
        if not _trusted(found):
            return found
    return _plain(peer) or UNKNOWN


def network(client: str) -> str:
    """What is counted as one client: an IPv4 address, or an IPv6 network."""
    if ":" not in client:
        return client
    return str(ip_network(f"{client.partition('%')[0]}/{HOUSEHOLD}", strict=False))


def _trusted(text: str) -> bool:
    if not settings.TRUSTED_PROXIES:
        return False
    found = _plain(text)
    return found is not None and any(ip_address(found) in each for each in settings.TRUSTED_PROXIES)


def _plain(text: str) -> str | None:
    """An address in its usual spelling, IPv4 within IPv6 as IPv4; None when it is none."""
    try:
        found = ip_address(text.strip())
    except ValueError:
        return None
    inner = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(inner or found)
