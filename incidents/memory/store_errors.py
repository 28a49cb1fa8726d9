"""Qdrant's errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from incidents.memory.errors import CollectionMissing, MemoryUnavailable


@contextmanager
def qdrant_errors(*, in_process: bool) -> Iterator[None]:
    """Turn the client's errors into ours."""
    try:
        yield
    except UnexpectedResponse as error:
        if error.status_code == HTTPStatus.NOT_FOUND:
            raise CollectionMissing from error
        raise MemoryUnavailable(f"Qdrant: {error}", retryable=_may_pass(error.status_code)) from error
    except ApiException as error:
        cause = getattr(error, "source", error)
        raise MemoryUnavailable(f"Qdrant: {type(cause).__name__}: {cause}", retryable=True) from error
    except QdrantException as error:
        raise MemoryUnavailable(f"Qdrant: {error}", retryable=True) from error
    except ValueError as error:  # what the in-process client raises; from a server: an unreadable answer
        raise MemoryUnavailable(f"Qdrant: {error}", retryable=not in_process) from error


def _may_pass(status: int | None) -> bool:
    """Whether an HTTP error may go away without anybody changing something."""
    busy = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    return status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in busy
