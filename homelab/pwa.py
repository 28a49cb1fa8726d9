"""What makes the pages an app on a phone: its service worker, and the page without a connection."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe


@require_safe
@cache_control(no_cache=True)
def service_worker(request: HttpRequest) -> HttpResponse:
    """At the root, for a worker is asked about nothing above its own address."""
    text = render_to_string("sw.js", {"version": settings.VERSION})
    return HttpResponse(text, content_type="text/javascript; charset=utf-8")


@require_safe
@cache_control(no_cache=True)
def offline(request: HttpRequest) -> HttpResponse:
    """The same for everybody, whoever asks: it is kept on the device."""
    return HttpResponse(render_to_string("offline.html"))
