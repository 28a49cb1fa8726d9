"""BM25 over the words of all entries.

score = sum over the query's words of query weight * idf * document weight. A document's weights are fixed
when it is written (its length is measured by a constant, not by the collection's average), so a Qdrant server
with sparse vectors and `modifier: idf` scores as the index in this process does.

In process postings are flat arrays of (slot, weight) per word, so a query costs one vector operation a word.
A removed entry only loses its slot; postings are compacted when a quarter of them point to nothing.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from incidents.memory.words import families

# Stored weights of another version, of these or of how words are cut, want to be written anew.
LEXICAL_VERSION = "1"
K1 = 2.0
B = 0.75
USUAL_LENGTH = 60  # words; what is remembered of an incident has 30 to 100
K3 = 1.2  # a word said five times in a query does not matter five times as much
FAMILY_SHARE = 0.5  # of what the same word is worth, a word of the same family is
COMPACT_ABOVE = 0.25
COMPACT_LEAST = 64


def word_id(word: str) -> int:
    """A sparse vector's index for `word`: the same for ever, 32 bits."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big")


def document_weights(words: Sequence[str]) -> dict[str, float]:
    """What each word of a document, and each family of its words, is worth without its rarity. `words`: as
    they were cut, repeated as often as they occur."""
    norm = K1 * (1 - B + B * len(words) / USUAL_LENGTH)
    counts = Counter([*words, *families(words)])
    return {word: count * (K1 + 1) / (count + norm) for word, count in counts.items()}


def query_weights(words: Sequence[str]) -> dict[str, float]:
    """How much the query asks for each word, and each family of its words."""
    weights = {word: _dampened(count) for word, count in Counter(words).items()}
    related = Counter(families(words))
    return weights | {name: FAMILY_SHARE * _dampened(count) for name, count in related.items()}


def _dampened(count: int) -> float:
    return count * (K3 + 1) / (count + K3)


def rarity(entries: int, holding: int) -> float:
    """Inverse document frequency of a word that `holding` of `entries` hold; always positive."""
    return math.log(1 + (entries - holding + 0.5) / (holding + 0.5))


def ideal(query: Mapping[str, float], entries: int) -> float:
    """What an entry of usual length would score that alone holds each word of the query, once."""
    return sum(query.values()) * rarity(entries, 1) if entries else 0.0


@dataclass(frozen=True, slots=True)
class Hits:
    """`scores`: BM25 by key, for the best and for all that were asked for. `ideal`: what `ideal` says of the
    query; 0.0 for one without words."""

    scores: dict[int, float]
    ideal: float


@dataclass(slots=True)
class _Postings:
    slots: array[int] = field(default_factory=lambda: array("I"))
    weights: array[float] = field(default_factory=lambda: array("f"))
    alive: int = 0


class LexicalIndex:
    """Entries by integer key. `add` replaces. Not thread-safe: its owner holds the memory's lock."""

    def __init__(self) -> None:
        self._postings: dict[str, _Postings] = {}
        self._keys: list[int | None] = []
        self._slots: dict[int, int] = {}
        self._words: dict[int, tuple[str, ...]] = {}
        self._dead: set[int] = set()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: int) -> bool:
        return key in self._slots

    def add(self, key: int, words: Sequence[str]) -> None:
        self.remove(key)
        slot = len(self._keys)
        weights = document_weights(words)
        for word, weight in weights.items():
            postings = self._postings.setdefault(word, _Postings())
            postings.slots.append(slot)
            postings.weights.append(weight)
            postings.alive += 1
        self._keys.append(key)
        self._slots[key] = slot
        self._words[key] = tuple(weights)

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
        if len(self._dead) > max(COMPACT_LEAST, COMPACT_ABOVE * len(self._keys)):
            self._compact()

    def search(self, words: Sequence[str], limit: int, also: Iterable[int] = ()) -> Hits:
        """The `limit` best entries that share a word, and the scores of `also` whatever they are."""
        if not self._slots:
            return Hits({}, 0.0)
        query = query_weights(words)
        scores = self._score(query)
        chosen = np.flatnonzero(scores > 0)
        if len(chosen) > limit:
            chosen = chosen[np.argpartition(scores[chosen], -limit)[-limit:]]
        found = {key: float(scores[slot]) for slot in chosen if (key := self._keys[slot]) is not None}
        for key in also:
            slot = self._slots.get(key)
            found.setdefault(key, 0.0 if slot is None else float(scores[slot]))
        return Hits(found, ideal(query, len(self._slots)))

    def _score(self, query: Mapping[str, float]) -> NDArray[np.float64]:
        """BM25 by slot, 0 for dead ones."""
        scores = np.zeros(len(self._keys))
        for word, asked in query.items():
            postings = self._postings.get(word)
            if postings is None:
                continue
            slots = np.frombuffer(postings.slots, dtype=np.uint32)
            weights = np.frombuffer(postings.weights, dtype=np.float32)
            scores[slots] += asked * rarity(len(self._slots), postings.alive) * weights
        scores[list(self._dead)] = 0.0
        return scores

    def _compact(self) -> None:
        """Number the living slots anew and drop what points to dead ones."""
        moved = np.full(len(self._keys), -1, dtype=np.int64)
        living = [slot for slot, key in enumerate(self._keys) if key is not None]
        moved[living] = np.arange(len(living))
        for postings in self._postings.values():
            slots = moved[np.frombuffer(postings.slots, dtype=np.uint32)]
            keep = slots >= 0
            weights = np.frombuffer(postings.weights, dtype=np.float32)[keep]
            postings.slots = array("I", slots[keep].astype(np.uint32).tobytes())
            postings.weights = array("f", weights.tobytes())
        self._keys = [self._keys[slot] for slot in living]
        self._slots = {key: slot for slot, key in enumerate(self._keys) if key is not None}
        self._dead.clear()
