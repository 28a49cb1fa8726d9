"""What stands before the views: an id for each request, any host name for machines, no body of unknown
length, https, and the policy of what pages may load.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from rest_framework.response import Response

from homelab import tracing
from homelab.logs import ORIGIN
from incidents.api.errors import refusal
from incidents.api.root import AlertView
from incidents.context import About, Origin, current, person
from incidents.meters import WEBHOOK_ANSWERS
from incidents.redaction import redact

logger = logging.getLogger(__name__)
Handler = Callable[[HttpRequest], HttpResponseBase]
ANY_HOST = ("/alert", "/metrics", "/health")
SLOW_SECONDS = 1.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@=+-]{0,127}")


def identified(get_response: Handler) -> Handler:
    """Before all others: each request has an id, which its log lines, its incidents and its answer say.

    It is the caller's X-Request-ID, if that is a plain word and no secret.
    """
    get_response = tracing.served(get_response) if settings.OTEL_EXPORTER_OTLP_ENDPOINT else get_response

    def middleware(request: HttpRequest) -> HttpResponseBase:
        given = request.META.get("HTTP_X_REQUEST_ID")
        request_id = given if given and _is_sane(given) else os.urandom(16).hex()
        request.META[ORIGIN] = Origin(request_id)
        token = current.set(About(request_id))
        began = time.monotonic()
        try:
            response = get_response(request)
            _say_if_slow(request, response, time.monotonic() - began)
        finally:
            current.reset(token)
        response.headers["X-Request-ID"] = request_id
        return response

    return middleware


def _is_sane(given: str) -> bool:
    return _REQUEST_ID.fullmatch(given) is not None and redact(given) == given


def _say_if_slow(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    if seconds >= SLOW_SECONDS:
        about = {"method": request.method, "route": tracing.route(request), "status": response.status_code}
        more = {**about, "seconds": round(seconds, 3), "request": request}
        logger.warning("slow: %(method)s %(route)s took %(seconds)s s", more, extra=more)


def for_machines(request: HttpRequest) -> bool:
    """What Alertmanager, Prometheus and probes call, by any host name and without TLS inside a network."""
    return "/" + request.path_info.lstrip("/").split("/", 1)[0] in ANY_HOST


def alerts_first(get_response: Handler) -> Handler:
    """`/alert` has nothing of what the others are for: no page, cookie, session or redirect.

    They would cost an alert a seventh of its time.
    """
    receive = AlertView.as_view()

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info.strip("/") != "alert":
            return get_response(request)
        code = "500"
        try:
            answer: Response = receive(request).render()
            code = str(answer.status_code)
        finally:
            WEBHOOK_ANSWERS.labels(code).inc()
        answer.headers["Content-Length"] = str(len(answer.content))  # else the connection would not be kept
        return answer

    return middleware


def known(get_response: Handler) -> Handler:
    """After those that find out who it is: what is written meanwhile can say so (`incidents.accounts`)."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        token = person.set(lambda: request.user.get_username() or "nobody")
        try:
            return get_response(request)
        finally:
            person.reset(token)

    return middleware


def length_required(get_response: Handler) -> Handler:
    """411 for a body without a declared length, which the API would take for an empty one."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
        if chunked:
            return refusal(request, 411, "send the body with a Content-Length")
        return get_response(request)

    return middleware


class HostCheckMiddleware(CommonMiddleware):
    """Django's host check for everything but what Alertmanager, Prometheus and probes call.

    They reach us by address, by container name or through a balancer, and follow no link of ours,
    so a forged Host header gains nothing there.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        return None if for_machines(request) else super().process_request(request)


class NoRedirectedBodyMiddleware:
    """403 for a write over plain http, where Django would redirect it and so drop its body.

    Not used unless PUBLIC_URL is https.
    """

    def __init__(self, get_response: Handler) -> None:
        if not settings.SECURE_SSL_REDIRECT:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method in ("GET", "HEAD") or request.is_secure() or for_machines(request):
            return self.get_response(request)
        where = f"https://{settings.SECURE_SSL_HOST}{request.path}"
        return refusal(request, 403, f"only over https: {where}")


class ContentSecurityPolicyMiddleware:
    """`Content-Security-Policy` on every page, from SECURE_CSP: Django's own setting from 6.0 on.

    The admin's pages have ADMIN_CSP.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self.policy, self.admin_policy = (
            "; ".join(" ".join([name, *sources]) for name, sources in policy.items())
            for policy in (settings.SECURE_CSP, settings.ADMIN_CSP)
        )

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        policy = self.admin_policy if request.path_info.startswith("/admin/") else self.policy
        response.headers.setdefault("Content-Security-Policy", policy)
        return response
