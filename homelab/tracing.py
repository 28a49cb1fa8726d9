"""OpenTelemetry: the SDK and its OTLP exporter, when OTEL_EXPORTER_OTLP_ENDPOINT says where to; and requests.

Without it nothing of the SDK is imported, and the apps' spans do nothing. What else the SDK reads from the
environment (OTEL_TRACES_SAMPLER, OTEL_BSP_..., OTEL_RESOURCE_ATTRIBUTES) means what it does everywhere.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.admindocs.views import simplify_regex
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.re import parse_env_headers

from homelab.logs import ORIGIN
from incidents import tracing

Handler = Callable[[HttpRequest], HttpResponseBase]
STOP_SECONDS = 3.0  # for the last spans; a collector that is away must not hold up a stop
UNTRACED = ("health", "metrics", "static")  # asked every few seconds by machines, or of no interest
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MOST_IDS = 100
_provider: Any = None


def begin() -> None:
    """Export spans from now on, if somebody wants them. After each fork: the exporter has a thread."""
    global _provider  # noqa: PLW0603 one per process, as OpenTelemetry's own
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT is None or _provider is not None:
        return
    # Here, since it takes a quarter of a second and 20 MB, which nobody pays who wants no traces.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    name = os.environ.get("OTEL_SERVICE_NAME") or settings.SERVICE_NAME
    about = {"service.name": name, "service.version": settings.VERSION, "process.pid": os.getpid()}
    exporter = OTLPSpanExporter(endpoint=endpoint(), headers=headers())
    _provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(_provider)


def endpoint() -> str:
    return f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces"


def headers() -> dict[str, str]:
    """Of a request to the collector, its credentials among them."""
    return dict(parse_env_headers(settings.OTEL_EXPORTER_OTLP_HEADERS or "", liberal=True))


def end() -> None:
    """Send what is left, for STOP_SECONDS at most."""
    if _provider is not None:
        last = threading.Thread(target=_provider.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(STOP_SECONDS)


def served(get_response: Handler) -> Handler:
    """A span for each request, in the caller's trace if it says one."""

    def handler(request: HttpRequest) -> HttpResponseBase:
        if request.path_info.strip("/").partition("/")[0] in UNTRACED:
            return get_response(request)
        method = request.method if request.method in METHODS else "_OTHER"  # as the conventions say
        attributes = {"http.request.method": method, "url.scheme": request.scheme or "http"}
        parent = tracing.parse(request.META.get("HTTP_TRACEPARENT"))
        with tracing.span(method, kind=SpanKind.SERVER, parent=parent, attributes=attributes) as span:
            request.META[ORIGIN] = tracing.origin()
            response = get_response(request)
            if span.is_recording():
                _describe(span, method, request, response)
        return response

    return handler


def route(request: HttpRequest) -> str | None:
    """The pattern that matched, as `/incidents/<pk>`; None when nothing did.

    Not the path: that of a link is its credential.
    """
    if request.path_info.strip("/") == "alert":  # it goes past the resolver
        return "/alert"
    return _readable(request.resolver_match.route) if request.resolver_match else None


@cache
def _readable(pattern: str) -> str:
    return simplify_regex(pattern).rstrip("/") or "/"


def _describe(span: Span, method: str, request: HttpRequest, response: HttpResponseBase) -> None:
    found: dict[str, Any] = {"http.response.status_code": response.status_code}
    if (matched := route(request)) is not None:
        found["http.route"] = matched
        span.update_name(f"{method} {matched}")
    if matched == "/alert":
        incidents = (getattr(response, "data", None) or {}).get("incidents") or []
        if len(incidents) == 1:
            found["homelab.incident.id"] = incidents[0]
        elif incidents:
            found["homelab.incident.ids"] = incidents[:MOST_IDS]
    span.set_attributes(found)
    if response.status_code >= 500:
        tracing.failed(span, str(response.status_code))
