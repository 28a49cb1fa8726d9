"""What a Qdrant server's query means: prefetch, rescoring, fusion, many vectors a point, words with idf."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNNAMED = ""
DEFAULT_LIMIT = 10
RRF_K = 2


@dataclass
class Refusal(Exception):
    status: int
    message: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Collection:
    """`size` and `distance` are of the unnamed vector, if it has one; `named` and `sparse` of the others, as
    they were given at its making."""

    size: int = 0
    distance: str = "Dot"
    named: dict[str, dict[str, Any]] = field(default_factory=dict)
    sparse: dict[str, dict[str, Any]] = field(default_factory=dict)
    points: dict[int | str, dict[str, Any]] = field(default_factory=dict)
    indexed: set[str] = field(default_factory=set)
    read: dict[tuple[str, int | str], tuple[Any, Any]] = field(default_factory=dict, repr=False)

    @classmethod
    def made(cls, body: dict[str, Any]) -> Collection:
        vectors = body.get("vectors") or {}
        sparse = {name: each or {} for name, each in (body.get("sparse_vectors") or {}).items()}
        if "size" in vectors:
            return cls(vectors["size"], vectors["distance"], sparse=sparse)
        return cls(named=vectors, sparse=sparse)

    def params(self, name: str) -> dict[str, Any]:
        """Of a dense vector. Raises Refusal when there is none of this name."""
        if name == UNNAMED and self.size:
            return {"size": self.size, "distance": self.distance}
        if name not in self.named:
            raise Refusal(400, f"Wrong input: Not existing vector name error: {name}")
        return self.named[name]

    def upsert(self, point: dict[str, Any]) -> None:
        if not isinstance(point["id"], str) and (not isinstance(point["id"], int) or point["id"] < 0):
            raise Refusal(400, f"Format error: {point['id']!r} is no point id")
        vectors = point["vector"] if isinstance(point["vector"], dict) else {UNNAMED: point["vector"]}
        for name, vector in vectors.items():
            if name in self.sparse:
                _checked_sparse(vector)
            else:
                self.matrix(name, vector)
        self.points[point["id"]] = {**point, "payload": point.get("payload") or {}}

    def matrix(self, name: str, vector: Any) -> NDArray[np.float32]:
        """n x size; one row unless it may have several."""
        params = self.params(name)
        rows = np.atleast_2d(np.array(vector, dtype=np.float32))
        if rows.shape[1] != params["size"]:
            raise Refusal(
                400,
                f"Wrong input: Vector dimension error: expected dim: {params['size']}, got {rows.shape[1]}",
            )
        if len(rows) != 1 and not params.get("multivector_config"):
            raise Refusal(400, "Wrong input: Conversion between multi and regular vectors failed")
        if params["distance"] == "Cosine":
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return rows

    def vector_of(self, key: int | str, name: str) -> Any:
        """A matrix, or weights by word; None when the point has none. Read once, for speed."""
        vector = self.points[key]["vector"]
        given = vector.get(name) if isinstance(vector, dict) else vector if name == UNNAMED else None
        if given is None:
            return None
        known = self.read.get((name, key))
        if known is None or known[0] is not given:
            made = _checked_sparse(given) if name in self.sparse else self.matrix(name, given)
            known = self.read[name, key] = (given, made)
        return known[1]


def _checked_sparse(vector: dict[str, Any]) -> dict[int, float]:
    indices, values = vector["indices"], vector["values"]
    if len(indices) != len(values) or len(set(indices)) != len(indices):
        raise Refusal(422, "Validation error in JSON body: indices: must be unique, as many as values")
    return dict(zip(indices, values, strict=True))


Scored = list[tuple[int | str, float]]  # best first


def query(collection: Collection, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Scored points, as the API answers them."""
    found = _run(collection, body)[body.get("offset") or 0 :][: body.get("limit") or DEFAULT_LIMIT]
    threshold = body.get("score_threshold")
    answer = []
    for key, score in found:
        if threshold is not None and score < threshold:
            continue
        point = {"id": key, "version": 0, "score": score}
        if body.get("with_payload") is True:
            point["payload"] = collection.points[key]["payload"]
        if body.get("with_vector") is True:
            point["vector"] = collection.points[key]["vector"]
        answer.append(point)
    return answer


def _run(collection: Collection, body: dict[str, Any]) -> Scored:
    """All of them, uncut."""
    prefetch = body.get("prefetch") or []
    lists = []
    for inner in [prefetch] if isinstance(prefetch, dict) else prefetch:
        lists.append(_run(collection, inner)[: inner.get("limit") or DEFAULT_LIMIT])
    keys = {key for each in lists for key, _ in each} if lists else collection.points.keys()
    keys = {key for key in keys if _matches(key, collection.points[key], body.get("filter") or {})}
    asked = body.get("query")
    if asked is None:
        if lists:
            raise Refusal(400, "Wrong input: a query is needed to merge prefetches")
        return [(key, 0.0) for key in sorted(keys, key=str if _has_text(keys) else None)]
    if isinstance(asked, dict) and "fusion" in asked:
        if not lists:
            raise Refusal(400, "Wrong input: cannot fuse without prefetches")
        return _sorted((_rrf if asked["fusion"] == "rrf" else _dbsf)(lists))
    vector = asked["nearest"] if isinstance(asked, dict) and "nearest" in asked else asked
    using = body.get("using") or UNNAMED
    if isinstance(vector, dict):
        return _sorted(_by_words(collection, using, _checked_sparse(vector), keys))
    return _sorted(_by_nearness(collection, using, vector, keys))


def _has_text(keys: Iterable[int | str]) -> bool:
    return any(isinstance(key, str) for key in keys)


def _matches(key: int | str, point: dict[str, Any], rules: dict[str, Any]) -> bool:
    must = rules.get("must") or []
    for rule in [must] if isinstance(must, dict) else must:
        if "has_id" in rule:
            if key not in rule["has_id"]:
                return False
        elif point["payload"].get(rule["key"]) != rule["match"]["value"]:
            return False
    return True


def _by_nearness(
    collection: Collection, using: str, vector: Any, keys: Iterable[int | str]
) -> dict[int | str, float]:
    """Each query row's best row, summed up (MaxSim); with one row on both sides it is the plain score."""
    wanted = collection.matrix(using, vector)
    scores = {}
    for key in keys:
        rows = collection.vector_of(key, using)
        if rows is not None:
            scores[key] = float((wanted @ rows.T).max(axis=1).sum())
    return scores


def _by_words(
    collection: Collection, using: str, wanted: dict[int, float], keys: Iterable[int | str]
) -> dict[int | str, float]:
    """Of points that share a word; how rare a word is, the whole collection says."""
    if using not in collection.sparse:
        raise Refusal(400, f"Wrong input: Not existing vector name error: {using}")
    held = {key: words for key in collection.points if (words := collection.vector_of(key, using))}
    weights = dict(wanted)
    if collection.sparse[using].get("modifier") == "idf":
        for word in wanted:
            holding = sum(word in each for each in held.values())
            weights[word] *= math.log((len(held) - holding + 0.5) / (holding + 0.5) + 1)
    scores = {}
    for key in keys:
        shared = held.get(key, {}).keys() & weights.keys()
        if shared:
            scores[key] = float(np.float32(sum(weights[word] * held[key][word] for word in shared)))
    return scores


def _rrf(lists: list[Scored]) -> dict[int | str, float]:
    scores: dict[int | str, float] = {}
    for each in lists:
        for place, (key, _) in enumerate(each):
            scores[key] = scores.get(key, 0.0) + 1 / (place + RRF_K)
    return scores


def _dbsf(lists: list[Scored]) -> dict[int | str, float]:
    """Scores as their place between three deviations below the mean and three above."""
    scores: dict[int | str, float] = {}
    for each in lists:
        values = np.array([score for _, score in each])
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        for key, score in each:
            place = (score - values.mean() + 3 * spread) / (6 * spread) if spread else 0.5
            scores[key] = scores.get(key, 0.0) + float(place)
    return scores


def _sorted(scores: dict[int | str, float]) -> Scored:
    return sorted(scores.items(), key=lambda item: (-item[1], str(item[0])))
