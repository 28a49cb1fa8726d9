"""A memory entry's row as the index wants it."""

from __future__ import annotations

import logging

import numpy as np
from django.db.models import QuerySet

from incidents.memory.embed import Vectors, get_embedder, passages
from incidents.memory.errors import EmbeddingError
from incidents.memory.index import SHELVES, Shelf
from incidents.memory.store import Document
from incidents.models import MemoryEntry
from incidents.redaction import clean

logger = logging.getLogger(__name__)

UNIT_TOLERANCE = 1e-3

Kind = MemoryEntry.Kind
KINDS: dict[Shelf, tuple[MemoryEntry.Kind, ...]] = {
    "past": (Kind.INCIDENT, Kind.IMPORTED),
    "runbooks": (Kind.RUNBOOK,),
}


def entries(shelf: Shelf | None = None) -> QuerySet[MemoryEntry]:
    """All of them, or a shelf's; typed as what they are, which `MemoryEntry.queue` is not."""
    rows: QuerySet[MemoryEntry] = QuerySet(MemoryEntry)
    return rows if shelf is None else rows.filter(kind__in=KINDS[shelf])


def shelf_of(row: MemoryEntry) -> Shelf:
    return next(shelf for shelf in SHELVES if row.kind in KINDS[shelf])


def document(row: MemoryEntry, model: str, size: int | None = None) -> Document:
    """`row` for an index of `model`'s vectors."""
    vectors = vectors_of(row, model, size)
    return Document(
        key=row.pk,
        incident_id=row.incident_id,
        alert_name=clean(row.title),
        text=row.text,
        mark=mark(row.content_hash, model_of(model, row.model, row.next_model)),
        vectors=vectors,
        model="" if vectors is None else model,
    )


def model_of(model: str, now: str, then: str) -> str:
    """`model` when one of a row's two vectors is said to be its, else nothing."""
    return model if model in (now, then) else ""


def mark(content_hash: str, model: str) -> str:
    """Differs when the text or the vector may differ; `model` is empty while there is no vector of it."""
    return f"{content_hash}:{model}"


def packed(vectors: Vectors) -> bytes:
    """All rows after each other, float32, little endian."""
    return vectors.astype("<f4").tobytes()


def vectors_of(row: MemoryEntry, model: str, size: int | None = None) -> Vectors | None:
    """The row's vectors, n x `size` (None: any), when `model` made them of the row's text; the newer ones,
    should it have made both. A model behind the same name may give another length than it did."""
    vectors = None
    if row.next_model == model and row.next_vector is not None:
        vectors = _unpacked(row.next_vector, row.text)
    elif row.model == model and row.vector is not None:
        vectors = _unpacked(row.vector, row.text)
    return vectors if vectors is None or size in (None, vectors.shape[1]) else None


def _unpacked(stored: bytes | memoryview, text: str) -> Vectors | None:
    flat = np.frombuffer(bytes(stored), dtype="<f4").astype(np.float32)
    count = len(passages(text))
    if flat.size == 0 or flat.size % count:
        return None
    vectors = flat.reshape(count, -1)
    # Another version may have cut the text into another number of pieces; then rows straddle vectors.
    if (np.abs(np.linalg.norm(vectors, axis=1) - 1) > UNIT_TOLERANCE).any():
        return None
    return vectors


def model_in_use() -> str | None:
    """The model of the settings; None when it cannot be had, and then nothing is said about the vectors that
    are there."""
    try:
        return get_embedder().name
    except EmbeddingError as error:
        logger.warning("memory: no embedding model: %s", error)
        return None
