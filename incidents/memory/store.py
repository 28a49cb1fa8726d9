"""The dense side: passages as points in Qdrant, in this process or on a server. Sole user of qdrant_client.

Importing this module costs more than half a second; `index` does it at first use.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from incidents.memory.embed import MAX_PASSAGES, Vectors
from incidents.memory.errors import CollectionMissing, MemoryUnavailable

COLLECTION = "incidents"
TIMEOUT_SECONDS = 10
PROBE_SECONDS = 2  # /health asks; it must not hang as long as a write may
BATCH_POINTS = 256


@dataclass(frozen=True, slots=True)
class Entry:
    """One remembered incident as points. `vectors`: n x size, at most MAX_PASSAGES rows of unit length."""

    entry_id: int
    incident_id: int | None
    alert_name: str
    model: str
    vectors: Vectors

    def points(self) -> list[models.PointStruct]:
        payload = {
            "entry_id": self.entry_id,
            "incident_id": self.incident_id,
            "alert_name": self.alert_name,
            "model": self.model,
        }
        return [
            models.PointStruct(id=_point_id(self.entry_id, number), vector=row.tolist(), payload=payload)
            for number, row in enumerate(self.vectors)
        ]


class Store:
    """All methods raise MemoryUnavailable. Thread-safe."""

    def __init__(self, client: QdrantClient, probe: QdrantClient, *, in_process: bool) -> None:
        self._client = client
        self._probe = probe
        self.in_process = in_process
        # qdrant_client's in-process mode is not thread-safe, not even for readers beside one writer. A server
        # needs no lock, and one held through a timeout would stop every reader.
        self._guard: AbstractContextManager[object] = threading.RLock() if in_process else nullcontext()
        self._size: int | None = None

    @classmethod
    def here(cls) -> Store:
        client = QdrantClient(location=":memory:")
        return cls(client, client, in_process=True)

    @classmethod
    def on_server(cls, url: str, api_key: str | None) -> Store:
        # The key goes in as a header because `api_key=` warns about every http:// address, and inside a
        # compose network that is the usual one.
        headers = {"api-key": api_key} if api_key else None

        def client(timeout: int) -> QdrantClient:
            return QdrantClient(url=url, timeout=timeout, headers=headers, check_compatibility=False)

        return cls(client(TIMEOUT_SECONDS), client(PROBE_SECONDS), in_process=False)

    def close(self) -> None:
        with self._guard:
            self._client.close()
            self._probe.close()

    def ready(self) -> bool:
        """Whether the collection exists; raises when nobody answers."""
        with self._calling():
            return bool(self._probe.collection_exists(COLLECTION))

    def count(self) -> int:
        """Points, exactly; 0 without a collection."""
        try:
            with self._calling():
                if self.in_process and self._size is None:
                    return 0
                return int(self._client.count(COLLECTION, exact=True).count)
        except CollectionMissing:
            return 0

    def drop(self) -> None:
        """Forget everything."""
        with self._calling():
            self._size = None
            self._client.delete_collection(COLLECTION)

    def upsert(self, entries: Sequence[Entry], *, fresh: bool = False) -> bool:
        """Write entries; True when the collection had to be made for it. Passages that an entry no longer
        has are deleted, unless `fresh` says that it had none."""
        if not entries:
            return False
        points = [point for entry in entries for point in entry.points()]
        stale = [
            _point_id(entry.entry_id, number)
            for entry in entries
            for number in range(len(entry.vectors), MAX_PASSAGES)
        ]
        with self._calling():
            made = self._ensure(entries[0].vectors.shape[1])
            for start in range(0, len(points), BATCH_POINTS):
                self._client.upsert(COLLECTION, points[start : start + BATCH_POINTS], wait=True)
            if stale and not fresh and not made:
                self._client.delete(COLLECTION, models.PointIdsList(points=list(stale)), wait=True)
        return made

    def delete(self, entry_id: int) -> None:
        points: list[int | str] = [_point_id(entry_id, number) for number in range(MAX_PASSAGES)]
        with self._calling():
            if self.in_process and self._size is None:
                return
            self._client.delete(COLLECTION, models.PointIdsList(points=list(points)), wait=True)

    def search(self, vector: NDArray[np.float32], limit: int, *, model: str) -> dict[int, float]:
        """Cosine of the best passage by entry, from the `limit` nearest passages that `model` made."""
        with self._calling():
            if self.in_process and self._size is None:
                return {}
            found = self._client.query_points(
                COLLECTION,
                query=self._nearest(vector),
                query_filter=None if self.in_process else _made_by(model),
                limit=limit,
                with_payload=False,
            ).points
        best: dict[int, float] = {}
        for point in found:  # best first
            best.setdefault(int(point.id) // MAX_PASSAGES, float(point.score))
        return best

    def _nearest(self, vector: NDArray[np.float32]) -> models.NearestQuery:
        if self.in_process:
            # Unvalidated, the array stays float32; as a list it would become float64 and make numpy copy
            # the whole matrix to float64 for each query, four times slower at 20,000 passages.
            unvalidated: Any = vector
            return models.NearestQuery.model_construct(nearest=unvalidated)
        return models.NearestQuery(nearest=vector.tolist())

    def _ensure(self, size: int) -> bool:
        """Make the collection when it is missing or holds vectors of another size; True when it was made."""
        if self._size == size:
            return False
        if self._client.collection_exists(COLLECTION):
            params = self._client.get_collection(COLLECTION).config.params.vectors
            if isinstance(params, models.VectorParams) and params.size == size:
                self._size = size
                return False
            self._client.delete_collection(COLLECTION)
        # Dot, not cosine: rows have unit length, and the in-process cosine normalises them for each query.
        vectors = models.VectorParams(size=size, distance=models.Distance.DOT)
        try:
            self._client.create_collection(COLLECTION, vectors_config=vectors)
        except UnexpectedResponse as error:
            if error.status_code != HTTPStatus.CONFLICT:  # another process made it just now
                raise
        if not self.in_process:  # in process an index does nothing, and says so as a warning
            keyword = models.PayloadSchemaType.KEYWORD
            self._client.create_payload_index(COLLECTION, "model", keyword, wait=True)
        self._size = size
        return True

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Hold the lock where there is one, and turn the client's errors into ours."""
        try:
            with self._guard:
                yield
        except UnexpectedResponse as error:
            if error.status_code == HTTPStatus.NOT_FOUND:
                self._size = None
                raise CollectionMissing from error
            raise MemoryUnavailable(f"Qdrant: {error}", retryable=_may_pass(error.status_code)) from error
        except ApiException as error:
            cause = getattr(error, "source", error)
            raise MemoryUnavailable(f"Qdrant: {type(cause).__name__}: {cause}", retryable=True) from error
        except QdrantException as error:
            raise MemoryUnavailable(f"Qdrant: {error}", retryable=True) from error
        except ValueError as error:  # what the in-process client raises; from a server: an unreadable answer
            raise MemoryUnavailable(f"Qdrant: {error}", retryable=not self.in_process) from error


def _point_id(entry_id: int, number: int) -> int:
    """The same for the same passage for ever, so that writing again replaces."""
    return entry_id * MAX_PASSAGES + number


def _made_by(model: str) -> models.Filter:
    """While a new model's vectors replace the old one's, both are there; they must not be compared."""
    return models.Filter(must=[models.FieldCondition(key="model", match=models.MatchValue(value=model))])


def _may_pass(status: int | None) -> bool:
    """Whether an HTTP error may go away without anybody changing something."""
    busy = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    return status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in busy
