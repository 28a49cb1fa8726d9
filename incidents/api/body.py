"""Reading a request's body under a cap, so that no sender can fill the memory."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import UnreadablePostError
from gunicorn.http.errors import ParseException  # what the server's stream raises on broken chunks
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.request import Request


class BodyTooLarge(APIException):
    """413: over `settings.MAX_BODY_BYTES`."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"

    def __init__(self) -> None:
        super().__init__(f"the body is larger than {settings.MAX_BODY_BYTES} bytes")


def read_body(request: Request) -> bytes:
    """The raw body; BodyTooLarge before reading when its length is declared, else as soon as it shows."""
    length = declared_length(request.META)
    if length is not None and length > settings.MAX_BODY_BYTES:
        raise BodyTooLarge
    stream: Any = request
    if length is None and request.META.get("wsgi.input_terminated"):
        # A chunked body declares no length, and Django takes that for an empty one.
        stream = request.META["wsgi.input"]
    return read_capped(stream)


def read_capped(stream: Any) -> bytes:
    """All bytes of a stream; BodyTooLarge past the cap, ParseError when the sender went away."""
    try:
        body: bytes = stream.read(settings.MAX_BODY_BYTES + 1)
    except (UnreadablePostError, OSError, ParseException) as error:
        raise ParseError("body: could not be read to its end") from error
    if len(body) > settings.MAX_BODY_BYTES:
        raise BodyTooLarge
    return body


def declared_length(meta: dict[str, Any]) -> int | None:
    """Content-Length, None when there is none; ParseError when it is no length."""
    text = str(meta.get("CONTENT_LENGTH") or "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ParseError("Content-Length: wants a number of bytes")
    return int(text)
