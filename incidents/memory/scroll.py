"""Reads the points of a collection on any Qdrant server, page by page and without their vectors.

Importing this module costs more than half a second; only `import_memory` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

TIMEOUT_SECONDS = 30
REST_PORT = 6333  # the client's own default, also for https
PAGE = 200
NAMES_SHOWN = 10

Point = tuple[str, dict[str, Any]]  # its id, its payload


class SourceError(Exception):
    """The collection cannot be read; the message says why, without the key."""


class Source:
    """A collection on a server. All methods raise SourceError."""

    def __init__(self, url: str, collection: str, api_key: str | None) -> None:
        self.url = url
        self.collection = collection
        # The key goes in as a header because `api_key=` warns about every http:// address.
        headers = {"api-key": api_key} if api_key else None
        self._client = QdrantClient(
            url=url, timeout=TIMEOUT_SECONDS, headers=headers, check_compatibility=False
        )

    @property
    def server(self) -> str:
        """Which one it is: `host:port`, and a path where it has one."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or REST_PORT}{parts.path}"

    def count(self) -> int:
        """Points, exactly."""
        with self._calling():
            return int(self._client.count(self.collection, exact=True).count)

    def pages(self) -> Iterator[list[Point]]:
        """All points, in the order of their ids."""
        offset: Any = None
        while True:
            with self._calling():
                records, offset = self._client.scroll(
                    self.collection, limit=PAGE, offset=offset, with_payload=True, with_vectors=False
                )
            yield [(str(record.id), record.payload or {}) for record in records]
            if offset is None:
                return

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except UnexpectedResponse as error:
            raise SourceError(self._refusal(error)) from error
        except ResponseHandlingException as error:
            if isinstance(error.source, ValidationError):  # an answer of another shape
                raise SourceError(self._no_qdrant()) from error
            why = f"{type(error.source).__name__}: {error.source}"
            raise SourceError(f"{self.url} cannot be reached: {why}") from error
        except (ApiException, QdrantException) as error:
            raise SourceError(f"{self.url}: {error}") from error
        except (ValueError, AssertionError) as error:  # an answer that is no JSON, or that lacks its result
            raise SourceError(self._no_qdrant()) from error

    def _refusal(self, error: UnexpectedResponse) -> str:
        said = _said(error)
        if error.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return f"{self.url} refuses the key, or wants one ({error.status_code}); see --key-env"
        if said is None:
            return self._no_qdrant()
        if error.status_code == HTTPStatus.NOT_FOUND:
            return f"{self.url} has no collection {self.collection!r}{self._others()}"
        return f"{self.url} answered {error.status_code}: {said}"

    def _no_qdrant(self) -> str:
        return f"{self.url} does not answer as Qdrant does; its REST port is usually 6333"

    def _others(self) -> str:
        try:
            names = sorted(each.name for each in self._client.get_collections().collections)
        except (ApiException, QdrantException, ValueError):
            return ""
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        return f"; it has {', '.join(names[:NAMES_SHOWN])}{more}" if names else "; it has none at all"


def _said(error: UnexpectedResponse) -> str | None:
    """The error as Qdrant words it; None when it is not worded so."""
    try:
        return str(json.loads(error.content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return None
