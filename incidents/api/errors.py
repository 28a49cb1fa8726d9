"""Errors of the API, as RFC 9457 wants them: `application/problem+json`.

The endpoints at the root answer as they always did, for whoever calls them knows these bodies.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.encoding import escape_uri_path
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from incidents.batch import Raced

logger = logging.getLogger(__name__)
RETRY_AFTER_SECONDS = "5"
MEDIA_TYPE = "application/problem+json"
API = "/api/"
# What has more to say than its status has a type of its own; the others are `about:blank`.
TYPES = "tag:homelab-ai-agents,2026:"
KEPT_HEADERS = ("WWW-Authenticate", "Retry-After")


class Unavailable(APIException):
    """503: a part that this answer needs is away for the moment."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"


class BadGateway(APIException):
    """502: somebody else's server, which this answer needs, refused."""

    status_code = status.HTTP_502_BAD_GATEWAY
    default_code = "bad_gateway"


class Conflict(APIException):
    """409: as things stand, there is nothing to do."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class NotWaiting(APIException):
    """410: the question is answered, withdrawn or expired. `action_status` is what became of it."""

    status_code = status.HTTP_410_GONE
    default_code = "gone"

    def __init__(self, detail: str, action_status: str) -> None:
        super().__init__(detail)
        self.action_status = action_status


class HttpProblem(serializers.Serializer[Any]):
    """Why not (RFC 9457)."""

    type = serializers.CharField(help_text="`about:blank` when the status says it all")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="For people")
    instance = serializers.CharField(help_text="The path that was asked for")
    errors = serializers.DictField(  # type: ignore[assignment]  # DRF takes declared fields off the class
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="With `invalid-fields`: what is wrong, by field",
    )
    action_status = serializers.CharField(
        required=False, help_text="With `not-waiting`: the status of the action now"
    )


def is_api(request: HttpRequest | Request) -> bool:
    return bool(request.path_info.startswith(API))


def problem(
    request: HttpRequest | Request, code: int, detail: str, *, kind: str | None = None, **more: Any
) -> JsonResponse:
    """An answer that says why not. `kind` names a type of its own, which `more` belongs to."""
    said = told(code, detail, escape_uri_path(request.path), kind=kind, **more)
    return JsonResponse(said, status=code, content_type=MEDIA_TYPE)


def told(code: int, detail: str, path: str, *, kind: str | None = None, **more: Any) -> dict[str, Any]:
    """The body of a problem."""
    return {
        "type": f"{TYPES}{kind}" if kind else "about:blank",
        "title": kind.replace("-", " ").capitalize() if kind else HTTPStatus(code).phrase,
        "status": code,
        "detail": detail,
        "instance": path,
        **more,
    }


def refusal(request: HttpRequest, code: int, detail: str) -> JsonResponse:
    """What stands before the views says no: under `/api/` a problem, elsewhere the detail alone."""
    if is_api(request):
        return problem(request, code, detail)
    return JsonResponse({"detail": detail}, status=code)


@csrf_exempt  # it does nothing, and whoever posts wants to know that
def no_such_endpoint(request: HttpRequest) -> JsonResponse:
    """404 as JSON, for programs ask here."""
    return problem(request, status.HTTP_404_NOT_FOUND, f"there is no {request.path}; see /api/docs")


def handler(error: Exception, context: dict[str, Any]) -> HttpResponseBase | None:
    """DRF's answers, and: 503 while the database cannot store (senders repeat 5xx), 400 for a bad value."""
    response = _answer(error, context)
    request: Request = context["request"]
    if response is None or not is_api(request):
        return response
    answer = _as_problem(request, response, error)
    for name in KEPT_HEADERS:
        if name in response.headers:
            answer.headers[name] = response.headers[name]
    return answer


def _answer(error: Exception, context: dict[str, Any]) -> Response | None:
    if isinstance(error, OperationalError | InterfaceError | IntegrityError | Raced):
        # IntegrityError, Raced: a race that was lost more often than it is tried again.
        logger.error("%s: the database did not take it: %s", context["view"].__class__.__name__, error)
        set_rollback()
        return Response(
            {"status": "error", "detail": "the database cannot be used at the moment"},
            status=status.HTTP_503_SERVICE_UNAVAILABLE,
            headers={"Retry-After": RETRY_AFTER_SECONDS},
        )
    if isinstance(error, DataError):
        set_rollback()
        return Response({"detail": "a value cannot be stored"}, status=status.HTTP_400_BAD_REQUEST)
    return exception_handler(error, context)


def _as_problem(request: Request, response: Response, error: Exception) -> JsonResponse:
    code = response.status_code
    if isinstance(error, ValidationError):
        errors: dict[str, list[str]] = {}
        for field, text in _messages(error.detail):
            errors.setdefault(field, []).append(text)
        words = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in errors.items())
        return problem(request, code, words, kind="invalid-fields", errors=errors)
    detail = str(response.data["detail"])
    if isinstance(error, NotWaiting):
        return problem(request, code, detail, kind="not-waiting", action_status=error.action_status)
    return problem(request, code, detail)


def _messages(detail: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """(field, text) of each thing that is wrong; a place within a field is `days.0`."""
    if isinstance(detail, Mapping):
        for name, each in detail.items():
            yield from _messages(each, f"{field}.{name}" if field else str(name))
    elif isinstance(detail, list):
        for each in detail:
            yield from _messages(each, field)
    else:
        yield field or "non_field_errors", str(detail)
