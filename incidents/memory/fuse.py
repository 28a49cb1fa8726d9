"""Puts the dense and the lexical answer to one query together. Pure.

Scores are fused, not ranks: a rank forgets by how much the first was better than the second. Each side's
scores become z-scores over the candidates of this query, and count half each.

The z-score orders; it cannot say whether the best is any good, because some entry is always the best. That
is `confidence`, from the two absolute measures: the cosine, and how much of the query's words the entry
holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from incidents.memory.lexical import Hits

DENSE_SHARE = 0.5
# Candidates that differ by less than this are told apart by noise: the same alert a hundred times over.
LEAST_SPREAD_COSINE = 0.06
LEAST_SPREAD_SHARE = 0.05  # of the query's ideal
# Words repeated in a short entry may score above the ideal; that says nothing more.
MOST_SHARE = 1.2
# Below it, what was found is not like the query: "nothing like this yet". The weights of `confidence` are a
# logistic regression over halves of five sets of alerts, runbooks and incidents, in memories of 4 to 200
# entries, each query once with its document and once without: it is how often what looked like this was
# there. In memories of the other halves 741 of 742 abstentions were right. Of 100 queries without their
# document 58 were told so among 4 entries, 34 among 12, 11 among 50, 2 among 200: in a large memory something
# related is nearly always there, and is shown.
ABSTAIN_BELOW = 0.055


@dataclass(frozen=True, slots=True)
class Candidate:
    """`rank` orders the candidates of one query only; `confidence` is 0 to 1 and comparable between queries.
    `dense`: best cosine, None when that side did not score it. `lexical`: share of the ideal, 0 and up."""

    key: int
    rank: float
    confidence: float
    dense: float | None
    lexical: float | None


def fuse(dense: Mapping[int, float] | None, hits: Hits | None) -> list[Candidate]:
    """Candidates, best first. `dense`: cosines by key; None for a side means that it is away.

    Every key of `dense` that the lexical side knows should be in `hits.scores`; a key that `dense` lacks
    counts as its worst, since the search that left it out returned the best.
    """
    keys = sorted(set(dense or ()) | set(hits.scores if hits else ()))
    if not keys:
        return []
    rank = np.zeros(len(keys))
    cosines: list[float] | None = None
    # An empty answer is no opinion, not a bad one.
    share = (DENSE_SHARE if hits else 1.0) if dense else 0.0
    if dense:
        worst = min(dense.values())
        cosines = [dense.get(key, worst) for key in keys]
        rank += share * _z(np.array(cosines), LEAST_SPREAD_COSINE)
    if hits:
        scores = np.array([hits.scores.get(key, 0.0) for key in keys])
        rank += (1 - share) * _z(scores, LEAST_SPREAD_SHARE * hits.ideal)
    found = [
        Candidate(
            key=key,
            rank=float(rank[place]),
            confidence=confidence(cosines[place] if cosines else None, _share(hits, key)),
            dense=dense.get(key) if dense else None,
            lexical=_share(hits, key),
        )
        for place, key in enumerate(keys)
    ]
    return sorted(found, key=lambda candidate: (-candidate.rank, -candidate.key))


def confidence(dense: float | None, lexical: float | None) -> float:
    """0 to 1 from the cosine and the share of the ideal; whichever is None is not known and not held against
    the candidate."""
    if lexical is None:
        return 0.0 if dense is None else _logistic(8.6 * dense - 5.0)
    # The root, because the first words in common say the most.
    words = math.sqrt(min(lexical, MOST_SHARE))
    if dense is None:
        return _logistic(8.9 * words - 6.1)
    return _logistic(3.7 * dense + 7.4 * words - 7.1)


def _share(hits: Hits | None, key: int) -> float | None:
    if hits is None or hits.ideal == 0.0:
        return None
    return hits.scores.get(key, 0.0) / hits.ideal


def _z(values: NDArray[np.float64], least_spread: float) -> NDArray[np.float64]:
    spread = max(float(values.std()), least_spread)
    if spread == 0.0:
        return np.zeros(len(values))
    return np.asarray((values - values.mean()) / spread, dtype=np.float64)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
