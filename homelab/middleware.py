"""One middleware of ours: machines may call the open endpoints under any host name."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware

ANY_HOST = ("/alert", "/metrics", "/health")


class HostCheckMiddleware(CommonMiddleware):
    """Django's host check for everything but what Alertmanager, Prometheus and probes call.

    They reach us by address, by container name or through a balancer, and follow no link of ours,
    so a forged Host header gains nothing there.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        first = "/" + request.path_info.lstrip("/").split("/", 1)[0]
        return None if first in ANY_HOST else super().process_request(request)
