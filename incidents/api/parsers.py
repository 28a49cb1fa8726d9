"""JSON from strangers: whatever is wrong with it is the sender's 400 or 413, never our 500."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from incidents.alertmanager import refuse_constant
from incidents.api.body import BodyTooLarge, declared_length, read_capped


class SafeJSONParser(BaseParser):
    """Strict JSON in UTF-8 (no NaN, no NUL, no lone surrogates) of at most `settings.MAX_BODY_BYTES`."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        request = (parser_context or {}).get("request")
        length = declared_length(request.META) if request is not None else None
        if length is not None and length > settings.MAX_BODY_BYTES:
            raise BodyTooLarge
        return loads(read_capped(stream))


def loads(body: bytes) -> Any:
    """The value of a JSON document; ParseError says what is wrong with it."""
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=refuse_constant)
    except UnicodeDecodeError as error:
        raise ParseError("JSON: is not UTF-8") from error
    except RecursionError as error:
        raise ParseError("JSON: is nested too deep") from error
    except ValueError as error:  # also a number of more digits than Python will convert
        raise ParseError(f"JSON: {error}") from error
    _check_text(value)
    return value


def _check_text(value: Any) -> None:
    """Every string can be stored: PostgreSQL refuses NUL, UTF-8 has no lone surrogates."""
    waiting = [value]
    while waiting:  # a loop, for a document may be nested deeper than functions can be
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str):
            _check_string(item)


def _check_string(text: str) -> None:
    if "\x00" in text:
        raise ParseError("JSON: a string has a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ParseError("JSON: a string has a lone surrogate") from error
