"""BM25 over the words of all entries, in process. Not thread-safe: its owner holds the memory's lock.

Postings are flat arrays of (slot, count) per word, so a query costs one vector operation a word. A removed
entry only loses its slot; postings are compacted when a quarter of them point to nothing.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

K1 = 1.6
B = 0.75
# A memory of three incidents cannot tell a rare word from a common one; it is judged like one of fifty.
LEAST_ENTRIES = 50
COMPACT_ABOVE = 0.25
COMPACT_LEAST = 64


@dataclass(frozen=True, slots=True)
class Hits:
    """`scores`: BM25 by key, for the best and for all that were asked for. `ideal`: what an entry of average
    length that holds each word of the query once would score; 0.0 for a query without words."""

    scores: dict[int, float]
    ideal: float


@dataclass(slots=True)
class _Postings:
    slots: array[int] = field(default_factory=lambda: array("I"))
    counts: array[int] = field(default_factory=lambda: array("I"))
    alive: int = 0


class LexicalIndex:
    """Entries by integer key. `add` replaces."""

    def __init__(self) -> None:
        self._postings: dict[str, _Postings] = {}
        self._keys: list[int | None] = []
        self._lengths = array("I")
        self._slots: dict[int, int] = {}
        self._words: dict[int, tuple[str, ...]] = {}
        self._dead: set[int] = set()
        self._total_length = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: int) -> bool:
        return key in self._slots

    def add(self, key: int, words: Sequence[str]) -> None:
        self.remove(key)
        slot = len(self._keys)
        counts = Counter(words)
        for word, count in counts.items():
            postings = self._postings.setdefault(word, _Postings())
            postings.slots.append(slot)
            postings.counts.append(count)
            postings.alive += 1
        self._keys.append(key)
        self._lengths.append(len(words))
        self._slots[key] = slot
        self._words[key] = tuple(counts)
        self._total_length += len(words)

    def remove(self, key: int) -> None:
        """Forget `key`; unknown keys are fine."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        for word in self._words.pop(key):
            postings = self._postings[word]
            postings.alive -= 1
            if postings.alive == 0:
                del self._postings[word]
        self._keys[slot] = None
        self._dead.add(slot)
        self._total_length -= self._lengths[slot]
        if len(self._dead) > max(COMPACT_LEAST, COMPACT_ABOVE * len(self._keys)):
            self._compact()

    def search(self, words: Sequence[str], limit: int, also: Iterable[int] = ()) -> Hits:
        """The `limit` best entries that share a word, and the scores of `also` whatever they are."""
        if not self._slots:
            return Hits({}, 0.0)
        query = Counter(words)
        ideal = sum(times * self._rarity(word) for word, times in query.items())
        scores = self._score(query)
        chosen = np.flatnonzero(scores > 0)
        if len(chosen) > limit:
            chosen = chosen[np.argpartition(scores[chosen], -limit)[-limit:]]
        found = {key: float(scores[slot]) for slot in chosen if (key := self._keys[slot]) is not None}
        for key in also:
            slot = self._slots.get(key)
            found.setdefault(key, 0.0 if slot is None else float(scores[slot]))
        return Hits(found, ideal)

    def _score(self, query: Counter[str]) -> NDArray[np.float64]:
        """BM25 by slot, 0 for dead ones."""
        scores = np.zeros(len(self._keys))
        lengths = np.frombuffer(self._lengths, dtype=np.uint32)
        average = self._total_length / len(self._slots) or 1.0
        norms = K1 * (1 - B + B * lengths / average)
        for word, times in query.items():
            postings = self._postings.get(word)
            if postings is None:
                continue
            slots = np.frombuffer(postings.slots, dtype=np.uint32)
            counts = np.frombuffer(postings.counts, dtype=np.uint32)
            weight = times * self._rarity(word) * (K1 + 1)
            scores[slots] += weight * counts / (counts + norms[slots])
        scores[list(self._dead)] = 0.0
        return scores

    def _rarity(self, word: str) -> float:
        """Inverse document frequency, positive; highest for a word that no entry holds."""
        postings = self._postings.get(word)
        holding = 0 if postings is None else postings.alive
        entries = max(len(self._slots), LEAST_ENTRIES)
        return math.log(1 + (entries - holding + 0.5) / (holding + 0.5))

    def _compact(self) -> None:
        """Number the living slots anew and drop what points to dead ones."""
        moved = np.full(len(self._keys), -1, dtype=np.int64)
        living = [slot for slot, key in enumerate(self._keys) if key is not None]
        moved[living] = np.arange(len(living))
        for postings in self._postings.values():
            slots = moved[np.frombuffer(postings.slots, dtype=np.uint32)]
            keep = slots >= 0
            counts = np.frombuffer(postings.counts, dtype=np.uint32)[keep]
            postings.slots = array("I", slots[keep].astype(np.uint32).tobytes())
            postings.counts = array("I", counts.tobytes())
        self._lengths = array("I", (self._lengths[slot] for slot in living))
        self._keys = [self._keys[slot] for slot in living]
        self._slots = {key: slot for slot, key in enumerate(self._keys) if key is not None}
        self._dead.clear()
