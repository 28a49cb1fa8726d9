"""What of the database the index holds: at the start of a process, and while it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Literal

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Q
from django.utils import timezone

from incidents import jobs
from incidents.memory.errors import EmbeddingError, MemoryUnavailable, ModelReplaced
from incidents.memory.index import SHELVES, Index, Loaded, Shelf, get_index
from incidents.memory.rows import document, entries, mark, model_in_use, model_of, vectors_of
from incidents.models import Job, MemoryEntry
from incidents.queue import LIVE, State, anew

logger = logging.getLogger(__name__)

REBUILD = "rebuild_memory"  # the job
BATCH_ROWS = 256
REFRESH_SECONDS = 1.0
PAUSE_SECONDS = 30  # between looks at what a server lacks
MANY = 20_000
# A row is stamped before its transaction commits, so one older than the newest seen may appear later.
STRAGGLERS = timedelta(seconds=30)

Status = Literal["connected", "building", "disconnected"]


def fill() -> int:
    """Load every entry of the database into the indexes of this process; how many. With a server it looks
    whether that has them. Rows that died wait to be synced again, and what was made by another model than the
    settings', or is missing, is rebuilt in the background: a start often follows a changed setting."""
    if (advice := wants_server()) is not None:
        logger.warning("memory: %s", advice)
    return sum(_fill(shelf) for shelf in SHELVES)


def _fill(shelf: Shelf) -> int:
    index = get_index(shelf)
    index.looked_at = time.monotonic()
    try:
        with index.load():
            _revive(shelf)
            if index.store.in_process:
                done = load_all(index, searched(index))
                logger.info("memory: %d %s loaded", done, shelf)
            else:
                done = _look(index)
    except MemoryUnavailable:
        _renew_if_stale(index)
        raise
    _renew_if_stale(index)
    return done


def fill_in_background() -> threading.Thread:
    """`fill` in a thread of its own, which ends by itself."""

    def run() -> None:
        try:
            fill()
        finally:
            connection.close()

    thread = threading.Thread(target=run, name="memory-fill", daemon=True)
    thread.start()
    return thread


def refresh(shelf: Shelf = "past") -> int:
    """Take in rows that another process wrote since the last look; how many. Loads everything the first time.
    On a server they are there already; if it lost some, they are rebuilt in the background."""
    index = get_index(shelf)
    index.refreshed_at = time.monotonic()
    if index.loaded is Loaded.FAILED and time.monotonic() - index.looked_at < PAUSE_SECONDS:
        return 0
    if index.loaded in (Loaded.NOTHING, Loaded.FAILED):
        return _fill(shelf)
    look_again(index)
    if not index.store.in_process:
        return 0
    if index.loaded is Loaded.PART or index.seen is None:
        return 0  # another thread is loading
    recent = entries(shelf).filter(updated_at__gt=index.seen - STRAGGLERS)
    serving = searched(index)
    found = recent.values_list("pk", "content_hash", "model", "next_model")
    changed = [
        pk
        for pk, content_hash, now, then in found
        if index.mark(pk) != mark(content_hash, model_of(serving, now, then))
    ]
    try:
        for start in range(0, len(changed), BATCH_ROWS):
            rows = entries().filter(pk__in=changed[start : start + BATCH_ROWS])
            _add(index, list(rows), serving)
    except ModelReplaced:
        return 0  # a rebuild ended just now; the next look compares with what it made
    return len(changed)


def refresh_if_due(shelf: Shelf = "past") -> None:
    """`refresh`, at most once a second."""
    if time.monotonic() - get_index(shelf).refreshed_at >= REFRESH_SECONDS:
        refresh(shelf)


def status() -> Status:
    """For /health, the worst of the shelves: cheap, and not longer than the store's probe waits."""
    indexes = [get_index(shelf) for shelf in SHELVES]
    if any(index.loaded is Loaded.FAILED for index in indexes):
        return "disconnected"
    if indexes[0].store.in_process:
        return "connected" if all(index.loaded is Loaded.ALL for index in indexes) else "building"
    try:
        indexes[0].store.ready()  # they are on one server
        for index in indexes:
            if index.lost:
                look_again(index)  # another process may have rebuilt it
    except (DatabaseError, MemoryUnavailable):
        return "disconnected"
    return "building" if any(index.lost for index in indexes) else "connected"


def wants_server() -> str | None:
    """Why this memory should be on a Qdrant server; None when it is well where it is."""
    if settings.QDRANT_URL or (count := entries().count()) <= MANY:
        return None
    return f"{count} entries are many for one process: a Qdrant server (QDRANT_URL) holds more, and for all"


def load_all(index: Index, model: str) -> int:
    """All rows of the shelf, in batches; how many."""
    done, last = 0, 0
    while batch := list(entries(index.shelf).filter(pk__gt=last).order_by("pk")[:BATCH_ROWS]):
        last = batch[-1].pk
        done += len(batch)
        _add(index, batch, model)
    index.seen = index.seen or timezone.now()
    return done


def _add(index: Index, rows: list[MemoryEntry], model: str) -> None:
    size = index.size() or _usual_size(rows, model)
    documents = [document(row, model, size) for row in rows]
    index.add(documents)
    done = (found for row, found in zip(rows, documents, strict=True) if row.state == State.DONE)
    index.lacking = index.lacking or any(found.vectors is None for found in done)
    newest = max(row.updated_at for row in rows)
    index.seen = max(index.seen or newest, newest)


def _usual_size(rows: list[MemoryEntry], model: str) -> int | None:
    """Of the vectors of `model`: where there are some of another length, most decide."""
    sizes = Counter(found.shape[1] for row in rows if (found := vectors_of(row, model)) is not None)
    return max(sizes, key=lambda size: sizes[size], default=None)


def _look(index: Index) -> int:
    """Whether a server has all that was written to it; how many entries it has."""
    index.looked_at = time.monotonic()
    expected = entries(index.shelf).filter(state=State.DONE).count()
    index.empty = expected == 0
    try:
        there = index.store.count()
    except MemoryUnavailable as error:
        logger.warning("memory: %s", error)
        return 0
    index.doubtful, index.lost = False, there < expected
    if index.lost:
        logger.warning("memory: Qdrant has %d of %d %s", there, expected, index.shelf)
    return there


def look_again(index: Index) -> None:
    """Where it is not known whether a server has everything, or where it had not, or vectors did not fit."""
    on_server = not index.store.in_process
    wanted = index.misfit or (on_server and (index.doubtful or index.lost))
    if not wanted or time.monotonic() - index.looked_at < PAUSE_SECONDS:
        return
    index.looked_at = time.monotonic()
    if on_server:
        _look(index)
    _renew_if_stale(index)


def _renew_if_stale(index: Index) -> None:
    """Ask for a rebuild when entries or their vectors are missing, or what is searched was made by another
    model, or by another way to cut words, than today's."""
    try:
        replaced = index.store.outdated(model_in_use())
    except (EmbeddingError, MemoryUnavailable) as error:
        logger.warning("memory: %s", error)
        return
    if not (replaced or index.lost or index.lacking or index.misfit or index.loaded is Loaded.FAILED):
        return
    going_on = Job.objects.filter(name=REBUILD, state__in=LIVE)
    if not going_on.exists():
        why = "the embedding model is another one" if replaced or index.misfit else "entries are missing"
        logger.warning("memory: %s on the shelf %r; rebuilding in the background", why, index.shelf)
        jobs.request(REBUILD, by="start")


def searched(index: Index) -> str:
    """Whose vectors are searched, or will be; empty when there is none and the settings' model cannot be had.
    Raises EmbeddingError when it would be asked for."""
    if index.store.in_process:
        return index.store.model() or _serving(index.shelf)
    return index.model()


def _serving(shelf: Shelf) -> str:
    """Whose vectors the rows have: the settings' model if all that have any have its, else the one before."""
    model = model_in_use() or ""
    others = entries(shelf).exclude(model="").exclude(model=model)
    before = others.exclude(next_model=model, next_vector__isnull=False).values_list("model", flat=True)
    return before.order_by("pk").first() or model


def _revive(shelf: Shelf) -> None:
    if model_in_use() is not None:  # else nothing can be embedded; those rows would only die again
        entries(shelf).filter(Q(state=State.DEAD)).update(**anew())
