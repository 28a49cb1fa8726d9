"""Errors of the API: what the database says becomes an answer that a sender can act on."""

from __future__ import annotations

import logging
from typing import Any

from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from incidents.batch import Raced

logger = logging.getLogger(__name__)
RETRY_AFTER_SECONDS = "5"


class Unavailable(APIException):
    """503: a part that this answer needs is away for the moment."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "unavailable"


def handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's answers, and: 503 while the database cannot store (senders repeat 5xx), 400 for a bad value."""
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
