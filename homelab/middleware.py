"""What stands before the views: any host name for machines, and no body of unknown length for the API."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponsePermanentRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware

Handler = Callable[[HttpRequest], HttpResponseBase]
ANY_HOST = ("/alert", "/metrics", "/health")


def length_required(get_response: Handler) -> Handler:
    """411 for a body without a declared length, which the API would take for an empty one.

    `/alert` reads such bodies: an alert is refused for as little as possible.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
        if chunked and request.path_info.strip("/") != "alert":
            return JsonResponse({"detail": "send the body with a Content-Length"}, status=411)
        return get_response(request)

    return middleware


class HostCheckMiddleware(CommonMiddleware):
    """Django's host check for everything but what Alertmanager, Prometheus and probes call.

    They reach us by address, by container name or through a balancer, and follow no link of ours,
    so a forged Host header gains nothing there.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        first = "/" + request.path_info.lstrip("/").split("/", 1)[0]
        return None if first in ANY_HOST else super().process_request(request)
