"""`/metrics`: ours, and django-prometheus's of every process."""

from __future__ import annotations

import os

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

from metrics.collectors import COLLECTORS


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text; 401 when METRICS_TOKEN is set and not shown, 503 while the database is away."""
    if not _may_read(request):
        return HttpResponse(
            "a token is needed\n",
            status=401,
            content_type="text/plain",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    try:
        text = generate_latest(registry())
    except (OperationalError, InterfaceError):
        # A failed scrape shows as `up == 0`; half a scrape would show as incidents that vanished.
        return HttpResponse("the database does not answer\n", status=503, content_type="text/plain")
    return HttpResponse(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)


def registry() -> CollectorRegistry:
    """A fresh registry for one scrape: with several processes the default one holds only this process."""
    fresh = CollectorRegistry()
    for collector in COLLECTORS:
        fresh.register(collector())
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        MultiProcessCollector(fresh)  # type: ignore[no-untyped-call]
    else:
        fresh.register(REGISTRY)
    return fresh


def _may_read(request: HttpRequest) -> bool:
    wanted: str | None = settings.METRICS_TOKEN
    if wanted is None:
        return True
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return kind.lower() == "bearer" and constant_time_compare(token.strip(), wanted)
