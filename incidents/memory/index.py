"""The memory of this process: a shelf's store, and what of the database it holds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal, get_args

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from incidents.memory.embed import get_embedder
from incidents.memory.errors import CollectionMissing, EmbeddingError, MemoryUnavailable, ModelReplaced
from incidents.memory.fuse import Candidate, fuse
from incidents.memory.store import Asked, Document, Store
from incidents.memory.words import words

logger = logging.getLogger(__name__)

# Each an index of its own: what happened before, and what people wrote for such a case.
Shelf = Literal["past", "runbooks"]
SHELVES: tuple[Shelf, ...] = get_args(Shelf)


class Loaded(Enum):
    """How much of the database this process has read, or has seen a server to hold."""

    NOTHING = "nothing"
    PART = "part"
    ALL = "all"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Found:
    """Candidates, best first. `dense_error` says why the dense side did not answer, None when it did."""

    candidates: list[Candidate]
    dense_error: str | None


class Index:
    """Thread-safe. Knows no database; `sync` feeds it."""

    def __init__(self, store: Store, shelf: Shelf = "past") -> None:
        self.store = store
        self.shelf: Shelf = shelf
        self.lock = threading.RLock()  # for the marks; the store has its own
        self.loading = threading.Lock()
        self.loaded = Loaded.NOTHING
        self.seen: datetime | None = None
        self.looked_at = self.refreshed_at = float("-inf")  # time.monotonic()
        self.doubtful = True  # whether a server has everything has to be looked at
        self.lost = False  # it has not
        self.empty = False  # there is nothing to have
        self.lacking = False  # a row that is done has no vector that can be searched here
        self.given: int | None = None  # length of the vectors that its model gave last
        self._marks: dict[int, str] = {}

    @classmethod
    def here(cls, shelf: Shelf = "past") -> Index:
        """A new and empty one inside this process."""
        from incidents.memory.store_here import HereStore  # noqa: PLC0415 at first use: it imports qdrant_client

        return cls(HereStore(), shelf)

    @classmethod
    def on_server(cls, shelf: Shelf) -> Index:
        """What the server of QDRANT_URL holds."""
        from incidents.memory.store_server import ServerStore  # noqa: PLC0415 as the other

        assert settings.QDRANT_URL is not None  # whoever asks has looked
        return cls(ServerStore(settings.QDRANT_URL, settings.QDRANT_API_KEY, shelf), shelf)

    def __len__(self) -> int:
        """Entries that this process has put into it."""
        return len(self._marks)

    def mark(self, key: int) -> str | None:
        return self._marks.get(key)

    def model(self) -> str:
        """Whose vectors are searched; the one of the settings while there are none, or the server is away (it
        refuses another's). Raises EmbeddingError."""
        try:
            model = self.store.model()
        except MemoryUnavailable:
            model = None
        return model or get_embedder().name

    def size(self) -> int | None:
        """Length of the vectors that are searched; None when that is not settled, or not known now."""
        try:
            return self.store.size()
        except MemoryUnavailable:
            return None

    @property
    def misfit(self) -> bool:
        """Whether the model behind the same name gives vectors of another length than those that are here."""
        return self.given is not None and self.size() not in (None, self.given)

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

    def add(self, documents: Sequence[Document]) -> None:
        """Make documents findable, by their words alone when they have no vectors. Raises
        MemoryUnavailable."""
        try:
            made = self.store.write(documents)
        except CollectionMissing:
            self.doubtful = True
            raise
        self.doubtful = self.doubtful or made
        self.empty = False
        if self.store.in_process:  # on a server a process need not know what others wrote
            with self.lock:
                self._marks.update((document.key, document.mark) for document in documents)

    def remove(self, *keys: int) -> bool:
        """Forget entries; False when the store is away. A point that it keeps does no harm: its row is not
        found."""
        with self.lock:
            for key in keys:
                self._marks.pop(key, None)
        try:
            self.store.delete(*keys)
        except MemoryUnavailable as error:
            logger.warning("memory: %d entries are still in the store: %s", len(keys), error)
            return False
        return True

    def beside(self, known: str | None, model: str, size: int) -> tuple[Index, str, bool]:
        """What will take this one's place; see `Store.beside`."""
        store, name, is_new = self.store.beside(known, model, size)
        return Index(store, self.shelf), name, is_new

    def switch(self, other: Index, name: str) -> None:
        """Hold what `other` holds, in one step: nobody sees half of it."""
        if not other.store.in_process:
            self.store.switch(name)
            self.lost = self.empty = False
            return
        with self.lock:
            self.store = other.store  # the old one is not closed: a reader may be in it
            self._marks = other._marks
            self.seen, self.loaded, self.lacking = other.seen, other.loaded, other.lacking

    def search(self, query: str, also: Collection[int] = ()) -> Found:
        """Entries like `query`. `also`: keys to be judged even when a side would not have named them. Raises
        MemoryUnavailable when nothing can be searched."""
        if self.store.in_process and self.loaded is Loaded.ALL and not self._marks:
            return Found([], None)  # to embed the query costs more than all the rest
        if self.store.in_process and self.loaded in (Loaded.NOTHING, Loaded.FAILED):
            raise MemoryUnavailable("nothing is loaded yet", retryable=True)
        try:
            return self._search(query, also)
        except ModelReplaced:
            return self._search(query, also)
        except CollectionMissing:
            if self.empty:
                return Found([], None)
            self.doubtful = True
            raise

    def _search(self, query: str, also: Collection[int]) -> Found:
        vector, model, error = self._embed(query)
        asked = Asked(words(query), vector, model, also)
        scores = self.store.search(asked)
        return Found(fuse(scores.dense, scores.hits), error)

    def _embed(self, query: str) -> tuple[NDArray[np.float32] | None, str, str | None]:
        """The query's vector by the model whose vectors are searched, its name, and why there is none."""
        try:
            model = self.model()
            vector: NDArray[np.float32] = get_embedder(model).embed([query])[0]
        except EmbeddingError as error:
            logger.warning("memory: recalling by words alone: %s", error)
            return None, "", str(error)
        self.given = len(vector)
        if not self.misfit:
            return vector, model, None
        said = f"{model} gives vectors of {self.given} numbers now, those in the memory have {self.size()}"
        logger.warning("memory: recalling by words alone: %s", said)
        return None, "", said


_lock = threading.Lock()
_indexes: dict[Shelf, Index] = {}


def get_index(shelf: Shelf = "past") -> Index:
    """A shelf's index of this process, made at first use: importing qdrant_client takes half a second."""
    with _lock:
        if shelf not in _indexes:
            _indexes[shelf] = Index.on_server(shelf) if settings.QDRANT_URL else Index.here(shelf)
        return _indexes[shelf]


def forget_index() -> None:
    """Let go of the indexes of this process; the next use makes others. For tests, and after a fork."""
    with _lock:
        for index in _indexes.values():
            index.store.close()
        _indexes.clear()
