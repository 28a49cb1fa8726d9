"""From the database into the index of this process: at the start, while it runs, and anew."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from incidents.memory.embed import passages
from incidents.memory.errors import MemoryUnavailable
from incidents.memory.index import Index, Loaded, get_index, make_store
from incidents.memory.rows import document, entries, mark, model_in_use
from incidents.memory.sync import sync
from incidents.models import MemoryEntry
from incidents.queue import State, anew

logger = logging.getLogger(__name__)

BATCH_ROWS = 256
REFRESH_SECONDS = 1.0
PAUSE_SECONDS = 30  # between attempts to give the store what it lacks
# A row is stamped before its transaction commits, so one older than the newest seen may appear later.
STRAGGLERS = timedelta(seconds=30)

Status = Literal["connected", "building", "disconnected"]


def fill() -> int:
    """Load every entry of the database into the index of this process; how many. Rows that have no vector of
    the model in use, and rows that died, wait to be synced again: a start often follows a repaired setting.
    A store that is away does not stop it: words alone can answer."""
    index = get_index()
    with index.load():
        _revive()
        done = _load(index, vectors=not _is_complete(index))
    logger.info("memory: %d entries loaded%s", done, ", the store has yet to get them" * index.lost)
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


def refresh() -> int:
    """Take in rows that another process wrote since the last look; how many. Loads everything the first
    time, and what the store lost or missed in the background."""
    index = get_index()
    index.refreshed_at = time.monotonic()
    if index.loaded in (Loaded.NOTHING, Loaded.FAILED):
        return fill()
    if index.loaded is Loaded.PART or index.seen is None:
        return 0  # another thread is loading
    if index.lost and time.monotonic() - index.loaded_at > PAUSE_SECONDS:
        fill_in_background()
        return 0
    recent = entries().filter(updated_at__gt=index.seen - STRAGGLERS)
    found = recent.values_list("pk", "content_hash", "model")
    changed = [pk for pk, content_hash, model in found if index.mark(pk) != mark(content_hash, model)]
    for start in range(0, len(changed), BATCH_ROWS):
        rows = entries().filter(pk__in=changed[start : start + BATCH_ROWS])
        # On a server the points were written by the process that synced the row.
        _add(index, list(rows), vectors=index.store.in_process, fresh=False)
    return len(changed)


def refresh_if_due() -> None:
    """`refresh`, at most once a second."""
    if time.monotonic() - get_index().refreshed_at >= REFRESH_SECONDS:
        refresh()


def rebuild(progress: Callable[[int, int], None] | None = None) -> int:
    """Embed everything anew from the database, then put a fresh index in the old one's place; how many were
    embedded. What cannot be embedded keeps the vector it has, and waits. `progress(done, total)`."""
    keys = list(entries().order_by("pk").values_list("pk", flat=True))
    embedded = 0
    for done, pk in enumerate(keys, start=1):
        entries().filter(pk=pk).exclude(state=State.RUNNING).update(**anew())
        embedded += sync(pk, again=True)
        if progress is not None:
            progress(done, len(keys))
    _replace(get_index())
    return embedded


def status() -> Status:
    """For /health: cheap, and not longer than the store's probe waits."""
    index = get_index()
    if index.loaded is Loaded.FAILED:
        return "disconnected"
    if not index.store.in_process:
        try:
            index.store.ready()
        except MemoryUnavailable:
            return "disconnected"
        if index.loaded is Loaded.NOTHING:
            return "connected"  # a process that never recalls never loads
    return "connected" if index.loaded is Loaded.ALL else "building"


def _replace(index: Index) -> None:
    """Load everything from the database into an empty store."""
    if index.store.in_process:
        other = Index(make_store())
        with other.load():
            _load(other, vectors=True)
        index.take_over(other)
        return
    index.store.drop()
    with index.load():
        _load(index, vectors=True)


def _load(index: Index, *, vectors: bool) -> int:
    """All rows, in batches; how many. `vectors`: the store lacks them."""
    index.lost = False
    if vectors:
        index.has_vectors = False
    done, last = 0, 0
    while True:
        rows = entries().filter(pk__gt=last).order_by("pk")[:BATCH_ROWS]
        batch = list(rows)
        if not batch:
            break
        last = batch[-1].pk
        done += len(batch)
        try:
            _add(index, batch, vectors=vectors, fresh=index.store.in_process)
        except MemoryUnavailable as error:
            logger.warning("memory: %s", error)
            vectors, index.lost = False, True
    index.seen = index.seen or timezone.now()
    return done


def _add(index: Index, rows: list[MemoryEntry], *, vectors: bool, fresh: bool) -> None:
    """Words of `rows`, and their vectors when the store lacks them. Raises MemoryUnavailable after all words
    were added."""
    documents = [document(row) for row in rows]
    index.add_words(documents)
    newest = max(row.updated_at for row in rows)
    index.seen = max(index.seen or newest, newest)
    if vectors:
        index.add_vectors(documents, fresh=fresh)
    elif any(found.vectors is not None for found in documents):
        index.has_vectors = True


def _is_complete(index: Index) -> bool:
    """Whether the store holds all that the database has: on a server another process may have loaded it."""
    if index.store.in_process or index.lost:
        return False
    rows = entries().filter(model=model_in_use() or "", vector__isnull=False)
    wanted = sum(len(passages(text)) for text in rows.values_list("text", flat=True).iterator())
    try:
        return index.store.count() >= wanted
    except MemoryUnavailable as error:
        logger.warning("memory: %s", error)
        return False


def _revive() -> None:
    model = model_in_use()
    if model is None:
        return  # nothing can be embedded; those rows would only die again
    stale = Q(state=State.DEAD) | (Q(state=State.DONE) & ~Q(model=model))
    entries().filter(stale).update(**anew())
