"""The memory of this process: the lexical index, the vector store, and what of the database they hold."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from incidents.memory.embed import Vectors, get_embedder
from incidents.memory.errors import CollectionMissing, EmbeddingError, MemoryUnavailable
from incidents.memory.fuse import Candidate, fuse
from incidents.memory.lexical import LexicalIndex
from incidents.memory.words import words

if TYPE_CHECKING:
    from incidents.memory.store import Store

logger = logging.getLogger(__name__)

POOL_ENTRIES = 100  # candidates of the lexical side; z-scores are taken over them
POOL_PASSAGES = 200  # of the dense side: an entry has one or two


class Loaded(Enum):
    """How much of the database this process has read."""

    NOTHING = "nothing"
    PART = "part"
    ALL = "all"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Document:
    """What the index holds of one entry. `mark` tells versions of it apart; `vectors`: n x size of the model
    in use, or None while there are none."""

    key: int
    incident_id: int | None
    alert_name: str
    text: str
    mark: str
    vectors: Vectors | None


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates, best first. `dense_error` says why the dense side did not answer, None when it did."""

    candidates: list[Candidate]
    dense_error: str | None


class Index:
    """Thread-safe. Knows no database; `sync` feeds it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lock = threading.RLock()  # for the lexical index and the marks; the store has its own
        self.loading = threading.Lock()
        self.loaded = Loaded.NOTHING
        self.seen: datetime | None = None
        self.loaded_at = self.refreshed_at = float("-inf")  # time.monotonic()
        self.has_vectors = False  # there are some that the store should hold
        self.lost = False  # the store lacks what it should hold; `load` writes it again
        self._lexical = LexicalIndex()
        self._marks: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def mark(self, key: int) -> str | None:
        return self._marks.get(key)

    @contextmanager
    def load(self) -> Iterator[None]:
        """While entries are read from the database; one thread at a time."""
        with self.loading:
            self.loaded = Loaded.PART
            reached = Loaded.FAILED
            try:
                yield
                reached = Loaded.ALL
            finally:
                self.loaded = reached
                self.loaded_at = time.monotonic()

    def add_words(self, documents: Sequence[Document]) -> None:
        """Make documents findable by their words."""
        for document in documents:
            cut = words(document.text)  # outside the lock: this is the slow part
            with self.lock:
                self._lexical.add(document.key, cut)
                self._marks[document.key] = document.mark

    def add_vectors(self, documents: Sequence[Document], *, fresh: bool = False) -> None:
        """Write the vectors of those that have some. `fresh`: they are new to the store. Raises
        MemoryUnavailable."""
        from incidents.memory.store import Entry  # noqa: PLC0415 at first use: it imports qdrant_client

        model = get_embedder().name
        entries = [
            Entry(document.key, document.incident_id, document.alert_name, model, document.vectors)
            for document in documents
            if document.vectors is not None
        ]
        if entries:
            had, self.has_vectors = self.has_vectors, True  # also when it fails: then a search says so
            made = self.store.upsert(entries, fresh=fresh)
            self.lost = self.lost or (made and had)

    def remove(self, key: int) -> None:
        """Forget an entry. Points that a store which is away keeps do no harm: their row is not found."""
        with self.lock:
            self._lexical.remove(key)
            self._marks.pop(key, None)
        try:
            self.store.delete(key)
        except MemoryUnavailable as error:
            logger.warning("memory: entry %s is still in the store: %s", key, error)

    def take_over(self, other: Index) -> None:
        """Hold what `other` holds, in one step."""
        with self.lock:
            self.store = other.store  # the old one is not closed: a reader may be in it
            self._lexical, self._marks = other._lexical, other._marks
            self.seen, self.has_vectors, self.loaded = other.seen, other.has_vectors, other.loaded

    def search(self, query: str, also: Mapping[int, Vectors] | None = None) -> Found:
        """Entries like `query`. `also`: stored vectors of entries to be judged even when a side would not
        have named them. Raises MemoryUnavailable when neither side can answer."""
        if self.loaded is Loaded.ALL and not self._marks:
            return Found([], None)  # to embed the query costs more than all the rest
        dense, error = self._dense(query, also or {})
        with self.lock:
            if dense is None and self.loaded in (Loaded.NOTHING, Loaded.FAILED):
                raise MemoryUnavailable(f"nothing is loaded yet, and: {error}", retryable=True)
            wanted = (dense or {}).keys() | (also or {}).keys()
            hits = self._lexical.search(words(query), POOL_ENTRIES, also=wanted)
        return Found(fuse(dense, hits), error)

    def _dense(self, query: str, also: Mapping[int, Vectors]) -> tuple[dict[int, float] | None, str | None]:
        """Best cosine by entry, or None and why."""
        try:
            embedder = get_embedder()
            vector: NDArray[np.float32] = embedder.embed([query])[0]
            found = self.store.search(vector, POOL_PASSAGES, model=embedder.name) if self.has_vectors else {}
        except (EmbeddingError, MemoryUnavailable) as error:
            self.lost = self.lost or isinstance(error, CollectionMissing)
            logger.warning("memory: recalling by words alone: %s", error)
            return None, str(error)
        for key, vectors in also.items():
            if key not in found and vectors.shape[1] == len(vector):
                found[key] = float((vectors @ vector).max())
        return found, None


_lock = threading.Lock()
_index: Index | None = None


def get_index() -> Index:
    """The index of this process, made at first use: importing qdrant_client alone takes half a second."""
    global _index  # noqa: PLW0603 one memory a process is what this module is for
    with _lock:
        if _index is None:
            _index = Index(make_store())
        return _index


def make_store() -> Store:
    """A store as the settings say: on a server, or a new and empty one in this process."""
    from incidents.memory.store import Store  # noqa: PLC0415 at first use

    if settings.QDRANT_URL:
        return Store.on_server(settings.QDRANT_URL, settings.QDRANT_API_KEY)
    return Store.here()


def forget_index() -> None:
    """Let go of the index of this process; the next use makes another. For tests, and after a fork."""
    global _index  # noqa: PLW0603
    with _lock:
        if _index is not None:
            _index.store.close()
        _index = None
