"""A shelf on a Qdrant server: a point is an entry, with its passages' vectors and its words.

What is searched is an alias; behind it is one collection of several generations. A collection describes
itself: its dense vector is named after the model that made it, its sparse vector after the version of our
word cutting. So a process that has not heard of a replaced model is refused, and never compares two models.

Importing this module costs more than half a second; `index` does it at first use.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from incidents.memory.errors import CollectionMissing, MemoryUnavailable, ModelReplaced
from incidents.memory.lexical import (
    LEXICAL_VERSION,
    Hits,
    document_weights,
    ideal,
    query_weights,
    word_id,
)
from incidents.memory.store import POOL, Asked, Document, Scores
from incidents.memory.store_errors import qdrant_errors
from incidents.memory.words import words

logger = logging.getLogger(__name__)

# Before there were aliases the collection was called `incidents`; an alias cannot have a collection's name.
PREFIX = "homelab_"
BEFORE = "incidents"
WORDS = f"words-{LEXICAL_VERSION}"
TIMEOUT_SECONDS = 10
READ_SECONDS = 3  # a recall and /health ask; they must not hang as long as a write may
# After a call that failed so slowly it is not asked again for a while: each would wait as long.
SLOW_SECONDS = 1
AWAY_SECONDS = 15
COUNT_SECONDS = 60  # how many entries there are enters as a logarithm
BATCH_POINTS = 64  # some have 32 vectors


@dataclass(frozen=True, slots=True)
class Layout:
    """What a collection says of itself. `model` and `size` are None when it is not one of ours."""

    model: str | None
    size: int | None
    words: str


class ServerStore:
    """Behind an alias, or one `collection` that is being built."""

    in_process = False

    def __init__(self, url: str, api_key: str | None, shelf: str, collection: str | None = None) -> None:
        # The key goes in as a header because `api_key=` warns about every http:// address, and inside a
        # compose network that is the usual one.
        headers = {"api-key": api_key} if api_key else None

        def client(timeout: int) -> QdrantClient:
            return QdrantClient(url=url, timeout=timeout, headers=headers, check_compatibility=False)

        self._client, self._reader = client(TIMEOUT_SECONDS), client(READ_SECONDS)
        self._away_until = float("-inf")  # time.monotonic()
        self._again = (url, api_key, shelf)
        self._alias = PREFIX + shelf
        self._name = collection or self._alias
        self._layout: Layout | None = None
        self._entries: tuple[int, float] | None = None  # how many, and until when that is believed

    def close(self) -> None:
        self._client.close()
        self._reader.close()

    def ready(self) -> bool:
        with qdrant_errors(in_process=False):
            found = bool(self._reader.collection_exists(self._name))
        self._away_until = float("-inf")
        return found

    def count(self) -> int:
        try:
            with self._calling():
                return int(self._reader.count(self._name, exact=True).count)
        except CollectionMissing:
            return 0

    def model(self) -> str | None:
        layout = self.layout()
        return layout.model if layout else None

    def size(self) -> int | None:
        layout = self.layout()
        return layout.size if layout else None

    def layout(self) -> Layout | None:
        """None without a collection. Asked once, and again when an answer shows that it has changed."""
        if self._layout is None:
            try:
                with self._calling():
                    self._layout = _layout(self._reader.get_collection(self._name))
            except CollectionMissing:
                return None
        return self._layout

    def outdated(self, model: str | None) -> bool:
        self._layout = None  # another process may have rebuilt it
        layout = self.layout()
        return layout is not None and (layout.words != WORDS or model not in (None, layout.model))

    def write(self, documents: Sequence[Document]) -> bool:
        """The first with vectors makes the first generation; what has none waits until there is one."""
        first = next((document for document in documents if document.vectors is not None), None)
        layout = self.layout()
        made = layout is None and first is not None
        if layout is None and first is not None and first.vectors is not None:
            self._make(f"{self._alias}_1", first.model, first.vectors.shape[1])
            self._point_to(f"{self._alias}_1")
            layout = self.layout()
        if layout is None:
            raise CollectionMissing
        points = [_point(document, layout) for document in documents]
        with self._calling(first.model if first else None):
            for start in range(0, len(points), BATCH_POINTS):
                self._client.upsert(self._name, points[start : start + BATCH_POINTS], wait=True)
        return made

    def delete(self, *keys: int) -> None:
        with self._calling():
            self._client.delete(self._name, models.PointIdsList(points=list(keys)), wait=True)

    def search(self, asked: Asked) -> Scores:
        """In one round trip: both sides find their best, and each judges what either found.

        Not by Qdrant's own fusion: it keeps ranks or normalised scores, and whether the best is any good is
        only to be had from the cosine and the share of the ideal themselves.
        """
        layout = self.layout()
        if layout is None:
            raise CollectionMissing
        weights = query_weights(asked.words)
        sides: dict[str, Any] = {}
        if asked.vector is not None:
            sides[quote(asked.model, safe="")] = models.NearestQuery(nearest=[asked.vector.tolist()])
        if weights:
            sides[layout.words] = models.NearestQuery(nearest=_sparse(weights))
        if not sides:
            return Scores(None, Hits({}, 0.0))
        with self._calling(asked.model if asked.vector is not None else None):
            answers = self._reader.query_batch_points(self._name, _requests(sides, list(asked.also)))
        found = {
            side: {int(point.id): float(point.score) for point in answer.points}
            for side, answer in zip(sides, answers, strict=True)
        }
        scores = found.get(layout.words, {})
        dense = None if asked.vector is None else found[quote(asked.model, safe="")]
        return Scores(dense, Hits(scores, ideal(weights, self._how_many())))

    def _how_many(self) -> int:
        """Entries, as of a moment ago."""
        now = time.monotonic()
        if self._entries is None or self._entries[1] < now:
            self._entries = (self.count(), now + COUNT_SECONDS)
        return self._entries[0]

    # Generations

    def beside(self, known: str | None, model: str, size: int) -> tuple[ServerStore, str, bool]:
        if known is not None and known != self._serving():
            store = ServerStore(*self._again, known)
            if store.layout() == Layout(model, size, WORDS):
                return store, known, False
            store.close()
        self.remove_others()
        last = (self._serving() or "").rpartition("_")[2]
        # Never the first, which whoever writes to a server without a collection makes and lets be searched.
        name = f"{self._alias}_{int(last) + 1 if last.isdigit() else 2}"
        self._make(name, model, size)
        return ServerStore(*self._again, name), name, True

    def switch(self, collection: str) -> None:
        """From now on `collection` is searched; in one step for everybody."""
        self._point_to(collection)
        self.remove_others()

    def remove_others(self) -> None:
        """Delete the collections of this shelf that are not in use."""
        used = self._serving()
        with self._calling():
            for each in self._client.get_collections().collections:
                alias, _, number = each.name.rpartition("_")
                if alias == self._alias and number.isdigit() and each.name != used:
                    self._client.delete_collection(each.name)
                elif each.name == BEFORE and self._alias == f"{PREFIX}past":
                    logger.warning(
                        "memory: the collection %r of earlier versions is still there; nothing reads it",
                        BEFORE,
                    )

    def _serving(self) -> str | None:
        """The collection behind the alias."""
        with self._calling():
            aliases = self._client.get_aliases().aliases
        return next((each.collection_name for each in aliases if each.alias_name == self._alias), None)

    def _point_to(self, collection: str) -> None:
        create = models.CreateAlias(collection_name=collection, alias_name=self._alias)
        actions: list[Any] = [models.CreateAliasOperation(create_alias=create)]
        if self._serving() is not None:
            delete = models.DeleteAlias(alias_name=self._alias)
            actions.insert(0, models.DeleteAliasOperation(delete_alias=delete))
        with self._calling():
            self._client.update_collection_aliases(actions)
        self._layout = self._entries = None

    def _make(self, name: str, model: str, size: int) -> None:
        dense = models.VectorParams(
            size=size,
            distance=models.Distance.DOT,  # rows have unit length
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
        )
        sparse = models.SparseVectorParams(modifier=models.Modifier.IDF)
        try:
            with qdrant_errors(in_process=False):
                self._client.create_collection(
                    name, vectors_config={quote(model, safe=""): dense}, sparse_vectors_config={WORDS: sparse}
                )
        except MemoryUnavailable as error:
            cause = error.__cause__
            made = isinstance(cause, UnexpectedResponse) and cause.status_code == HTTPStatus.CONFLICT
            if not made:  # by another process just now
                raise

    @contextmanager
    def _calling(self, model: str | None = None) -> Iterator[None]:
        """ModelReplaced when it is refused because the collection is another one by now; MemoryUnavailable at
        once while the server is away."""
        before, began = self._layout, time.monotonic()
        if began < self._away_until:
            raise MemoryUnavailable("Qdrant did not answer a moment ago", retryable=True)
        try:
            with qdrant_errors(in_process=False):
                yield
        except CollectionMissing:
            self._layout = self._entries = None
            raise
        except MemoryUnavailable as error:
            if time.monotonic() - began >= SLOW_SECONDS:
                self._away_until = time.monotonic() + AWAY_SECONDS
            cause = error.__cause__
            refused = isinstance(cause, UnexpectedResponse) and cause.status_code == HTTPStatus.BAD_REQUEST
            if not refused:
                raise
            self._layout = None
            if self.layout() != before or (model is not None and self.model() != model):
                raise ModelReplaced from error
            raise


def _layout(info: models.CollectionInfo) -> Layout:
    params = info.config.params
    dense = params.vectors if isinstance(params.vectors, dict) else {}
    sparse = next(iter(params.sparse_vectors or ()), "")
    for name, vector in dense.items():
        return Layout(unquote(name), vector.size, sparse)
    return Layout(None, None, sparse)


def _point(document: Document, layout: Layout) -> models.PointStruct:
    vectors: dict[str, Any] = {}
    if document.vectors is not None:
        vectors[quote(document.model, safe="")] = document.vectors.tolist()
    if weights := document_weights(words(document.text)):
        vectors[layout.words] = _sparse(weights)
    payload = {"incident_id": document.incident_id, "alert_name": document.alert_name}
    return models.PointStruct(id=document.key, vector=vectors, payload=payload)


def _sparse(weights: dict[str, float]) -> models.SparseVector:
    """Two words of the same number count as one."""
    numbered: dict[int, float] = {}
    for word, weight in weights.items():
        number = word_id(word)
        numbered[number] = numbered.get(number, 0.0) + weight
    return models.SparseVector(indices=list(numbered), values=list(numbered.values()))


def _requests(sides: dict[str, Any], also: Sequence[int]) -> list[models.QueryRequest]:
    """For each side: its scores of what all sides and `also` name."""
    candidates = [models.Prefetch(query=query, using=side, limit=POOL) for side, query in sides.items()]
    if also:
        named = models.Filter(must=[models.HasIdCondition(has_id=list(also))])
        candidates.append(models.Prefetch(filter=named, limit=len(also)))
    limit = POOL * len(sides) + len(also)
    return [
        models.QueryRequest(prefetch=candidates, query=query, using=side, limit=limit, with_payload=False)
        for side, query in sides.items()
    ]
