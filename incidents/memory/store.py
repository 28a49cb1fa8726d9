"""What a shelf's entries are searched in: in this process (`store_here`) or on a Qdrant server
(`store_server`). Both rank alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from incidents.memory.embed import Vectors
from incidents.memory.lexical import Hits

POOL = 100  # candidates of each side; z-scores are taken over them


@dataclass(frozen=True, slots=True)
class Document:
    """What a store holds of one entry. `mark` tells versions of it apart; `vectors`: n x size, of unit
    length, made by `model`; None and "" while there are none, then it is found by its words."""

    key: int
    incident_id: int | None
    alert_name: str
    text: str
    mark: str
    vectors: Vectors | None
    model: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A query. `vector` was made by `model`; None when there is none, then words alone are asked. `also`:
    keys to be judged even when no side would have named them."""

    words: Sequence[str]
    vector: NDArray[np.float32] | None
    model: str
    also: Collection[int]


@dataclass(frozen=True, slots=True)
class Scores:
    """Of the best of each side and of `also`, by both sides. `dense`: cosines by key, None when not asked."""

    dense: Mapping[int, float] | None
    hits: Hits


class Store(Protocol):
    """Thread-safe. Every method but `close` raises MemoryUnavailable."""

    @property
    def in_process(self) -> bool:
        """Whether it is new and empty in each process."""

    def model(self) -> str | None:
        """Whose vectors it holds; None while there are none."""

    def size(self) -> int | None:
        """Length of its vectors; None while that is not settled."""

    def outdated(self, model: str | None) -> bool:
        """Whether it holds another model's vectors (None: not known), or words as they were cut before."""

    def write(self, documents: Sequence[Document]) -> bool:
        """Put documents in the place of what was there of them; True when a collection had to be made for it.
        Raises ModelReplaced when it holds another model's vectors than theirs."""

    def delete(self, *keys: int) -> None:
        """Forget entries, in one call; unknown ones are fine."""

    def count(self) -> int:
        """Entries; 0 when there is nothing yet."""

    def ready(self) -> bool:
        """Whether it could be searched; not longer than a probe may take."""

    def search(self, asked: Asked) -> Scores:
        """Raises ModelReplaced when it holds another model's vectors by now."""

    def beside(self, known: str | None, model: str, size: int) -> tuple[Store, str, bool]:
        """A store for vectors of `model` that nobody searches yet, its name, and whether it is new: the
        `known` one, if it is still there, else another."""

    def switch(self, name: str) -> None:
        """From now on what is in the store of this name is searched; in one step for everybody."""

    def close(self) -> None:
        """Let go of connections."""
