"""A memory entry's row as the index wants it."""

from __future__ import annotations

import logging

import numpy as np
from django.db.models import QuerySet

from incidents.memory.embed import Vectors, get_embedder, passages
from incidents.memory.errors import EmbeddingError
from incidents.memory.index import Document
from incidents.models import MemoryEntry
from incidents.redaction import clean

logger = logging.getLogger(__name__)

UNIT_TOLERANCE = 1e-3


def entries() -> QuerySet[MemoryEntry]:
    """All of them, typed as what they are: `MemoryEntry.queue` is typed as a manager of the base class."""
    return QuerySet(MemoryEntry)


def document(row: MemoryEntry) -> Document:
    return Document(
        key=row.pk,
        incident_id=row.incident_id,
        alert_name=clean(row.title),
        text=row.text,
        mark=mark(row.content_hash, row.model),
        vectors=stored_vectors(row),
    )


def mark(content_hash: str, model: str) -> str:
    """Differs when the text or the vector may differ; `model` is empty while there is no vector."""
    return f"{content_hash}:{model}"


def packed(vectors: Vectors) -> bytes:
    """All rows after each other, float32, little endian."""
    return vectors.astype("<f4").tobytes()


def stored_vectors(row: MemoryEntry) -> Vectors | None:
    """The row's vectors, n x size, when the model in use made them of the row's text; else None."""
    if row.vector is None or row.model != model_in_use():
        return None
    flat = np.frombuffer(bytes(row.vector), dtype="<f4").astype(np.float32)
    count = len(passages(row.text))
    if flat.size == 0 or flat.size % count:
        return None
    vectors = flat.reshape(count, -1)
    # Another version may have cut the text into another number of pieces; then rows straddle vectors.
    if (np.abs(np.linalg.norm(vectors, axis=1) - 1) > UNIT_TOLERANCE).any():
        return None
    return vectors


def model_in_use() -> str | None:
    """None when it cannot be had; then nothing is said about the vectors that are there."""
    try:
        return get_embedder().name
    except EmbeddingError as error:
        logger.warning("memory: no embedding model: %s", error)
        return None
