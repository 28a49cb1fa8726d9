"""A shelf inside this process: meaning in Qdrant's in-process mode, words in our own index.

Qdrant's in-process mode answers a dense query over 10,000 passages in 5 ms and a sparse one in 286. Importing
this module costs more than half a second; `index` does it at first use.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from incidents.memory.embed import MAX_PASSAGES, Vectors
from incidents.memory.errors import ModelReplaced
from incidents.memory.lexical import LexicalIndex
from incidents.memory.store import POOL, Asked, Document, Scores
from incidents.memory.store_errors import qdrant_errors
from incidents.memory.words import words

COLLECTION = "passages"
# An entry has one passage or two, and each that is asked for costs the client more than to find it did.
PASSAGES = (POOL + POOL // 4, 3 * POOL)


class HereStore:
    """A point is a passage: searched here, several vectors a point are compared one by one, in Python."""

    in_process = True

    def __init__(self, size: int | None = None) -> None:
        self._client = QdrantClient(location=":memory:")
        # Its in-process mode is not thread-safe, not even for readers beside one writer.
        self._lock = threading.RLock()
        self._lexical = LexicalIndex()
        self._passages: dict[int, int] = {}  # how many an entry has
        self._model: str | None = None
        self._size = size

    def close(self) -> None:
        with self._lock:
            self._client.close()

    def model(self) -> str | None:
        return self._model

    def size(self) -> int | None:
        return self._size

    def ready(self) -> bool:
        return True

    def count(self) -> int:
        return len(self._lexical)

    def outdated(self, model: str | None) -> bool:
        return None not in (model, self._model) and model != self._model

    def beside(self, known: str | None, model: str, size: int) -> tuple[HereStore, str, bool]:
        return HereStore(size), COLLECTION, known is None

    def switch(self, name: str) -> None:
        """Nothing to do: its owner takes the other store."""

    def write(self, documents: Sequence[Document]) -> bool:
        cut = [words(document.text) for document in documents]  # outside the lock: this is the slow part
        with self._calling():
            self._write_vectors(documents)
            for document, found in zip(documents, cut, strict=True):
                self._lexical.add(document.key, found)
        return False

    def _write_vectors(self, documents: Sequence[Document]) -> None:
        points: list[models.PointStruct] = []
        stale: list[int] = []
        for document in documents:
            vectors = [] if document.vectors is None else list(document.vectors)
            if document.vectors is not None:
                self._expect(document.model, document.vectors)
            stale += _points(document.key, range(len(vectors), self._passages.get(document.key, 0)))
            ids = _points(document.key, range(len(vectors)))
            points += [
                models.PointStruct(id=point, vector=vector.tolist())
                for point, vector in zip(ids, vectors, strict=True)
            ]
        if points:
            self._client.upsert(COLLECTION, points)
        self._drop(stale)
        self._passages.update(
            (document.key, 0 if document.vectors is None else len(document.vectors)) for document in documents
        )

    def _expect(self, model: str, vectors: Vectors) -> None:
        """Vectors of two models must not be compared. The first to come makes the collection."""
        if self._model is None:
            # Dot, not cosine: rows have unit length, and Qdrant's cosine here normalises them for each query.
            params = models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT)
            self._client.create_collection(COLLECTION, vectors_config=params)
            self._model, self._size = model, vectors.shape[1]
        elif self._model != model:
            raise ModelReplaced

    def delete(self, *keys: int) -> None:
        with self._calling():
            for key in keys:
                self._lexical.remove(key)
            self._drop([point for key in keys for point in _points(key, range(self._passages.pop(key, 0)))])

    def _drop(self, points: list[int]) -> None:
        if points:
            self._client.delete(COLLECTION, models.PointIdsList(points=list(points)))

    def search(self, asked: Asked) -> Scores:
        with self._calling():
            dense = None if asked.vector is None else self._nearest(asked.vector, asked.model)
            hits = self._lexical.search(asked.words, POOL, also=(*(dense or ()), *asked.also))
            if dense is not None and asked.vector is not None:
                dense |= self._cosines(asked.vector, hits.scores.keys() - dense.keys())
        return Scores(dense, hits)

    def _nearest(self, vector: NDArray[np.float32], model: str) -> dict[int, float]:
        """The best passage's cosine of the POOL nearest entries."""
        if self._model is None:
            return {}
        if self._model != model:
            raise ModelReplaced
        # Unvalidated, the array stays float32; as a list it would become float64 and make numpy copy the
        # whole matrix to float64 for each query, four times slower at 20,000 passages.
        unvalidated: Any = vector
        query = models.NearestQuery.model_construct(nearest=unvalidated)
        best: dict[int, float] = {}
        for limit in PASSAGES:
            found = self._client.query_points(COLLECTION, query=query, limit=limit, with_payload=False)
            best = _best(found.points)
            if len(best) == POOL or len(found.points) < limit:
                break
        return best

    def _cosines(self, vector: NDArray[np.float32], keys: Collection[int]) -> dict[int, float]:
        """The best passage's cosine of these entries, as far as they have vectors."""
        ids = [point for key in keys for point in _points(key, range(self._passages.get(key, 0)))]
        if not ids:
            return {}
        best: dict[int, float] = {}
        for record in self._client.retrieve(COLLECTION, ids, with_payload=False, with_vectors=True):
            cosine = float(np.asarray(record.vector, dtype=np.float32) @ vector)
            key = int(record.id) // MAX_PASSAGES
            best[key] = max(best.get(key, -1.0), cosine)
        return best

    @contextmanager
    def _calling(self) -> Iterator[None]:
        with qdrant_errors(in_process=True), self._lock:
            yield


def _best(points: Iterable[models.ScoredPoint]) -> dict[int, float]:
    """The score of the best passage, by entry; `points` come best first."""
    best: dict[int, float] = {}
    for point in points:
        key = int(point.id) // MAX_PASSAGES
        if key not in best and len(best) == POOL:
            break
        best.setdefault(key, float(point.score))
    return best


def _points(key: int, numbers: range) -> list[int]:
    """The same id for the same passage for ever, so that writing again replaces."""
    return [key * MAX_PASSAGES + number for number in numbers]
