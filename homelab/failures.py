"""Errors outside of the views: under `/api/` as problem details, elsewhere as Django's pages."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import defaults

from incidents.api.errors import is_api, problem


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Such as a Host header that is not ours."""
    if is_api(request):
        return problem(request, 400, "the request cannot be read, or came to a host name that is not ours")
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponseBase:
    if is_api(request):
        return problem(request, 500, "a mistake of this program; its log has it under this X-Request-ID")
    return defaults.server_error(request)
