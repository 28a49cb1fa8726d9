"""The memory made anew from the database, while the old one is searched.

Each row gets a second vector beside the one that serves (`next_vector`), made by the settings' model. When
all have one, an index of them takes the old one's place in one step, and then they become the rows' vectors.
What is done is in the rows, so whoever goes on after a kill embeds nothing twice; and an index for a model
takes whichever of a row's two vectors is that model's, so a kill between any two steps does no harm.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, NoReturn

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from incidents import jobs
from incidents.memory.embed import Embedder, get_embedder, passages
from incidents.memory.errors import EmbeddingError, MemoryUnavailable
from incidents.memory.index import SHELVES, Index, Shelf, get_index
from incidents.memory.load import BATCH_ROWS, REBUILD, STRAGGLERS, load_all
from incidents.memory.rows import document, entries, model_in_use, packed, vectors_of
from incidents.models import Job, MemoryEntry
from incidents.queue import State

logger = logging.getLogger(__name__)

SLICE_SECONDS = 60.0  # then other work has its turn; a worker's task may not take longer than 170
TELL_SECONDS = 1.0
AGAIN_SECONDS = 30.0  # when the model's server or Qdrant is away

Renew = Callable[..., None]


@dataclass
class Progress:
    """How far it is; kept as the job's result. `shelf` is worked on: its rows up to `last` are embedded, and
    on a server they are in `collection`; what changed after `since` has to be looked at again."""

    model: str
    going_on: bool = True
    shelf: Shelf | None = None
    collection: str | None = None
    last: int = 0
    since: str = ""
    finished: list[Shelf] = field(default_factory=list)
    before: int = 0  # done when the shelf was begun
    done: int = 0
    total: int = 0
    embedded: int = 0
    failed: int = 0


def mark_all() -> int:
    """Let the next rebuild embed everything anew; how many. Nothing is lost by it: what serves goes on, and
    what a rebuild has done already is kept."""
    model = model_in_use()
    keys = entries().order_by("pk").values_list("pk", flat=True)
    keys = keys.exclude(next_model=model, next_vector__isnull=False)
    marked, last = 0, 0
    while batch := list(keys.filter(pk__gt=last)[:BATCH_ROWS]):
        last = batch[-1]
        rows = entries().filter(pk__in=batch).exclude(next_model=model, next_vector__isnull=False)
        marked += rows.update(next_model=model or "", next_vector=None)
    return marked


def request(by: str) -> Job:
    """Everything is to be embedded anew and indexed; a rebuild that has not ended goes on instead."""
    job = Job.objects.filter(name=REBUILD).first()
    begun = job is not None and (job.state == State.RUNNING or (job.state == State.WAITING and _goes_on(job)))
    if not begun:
        mark_all()
        Job.objects.filter(name=REBUILD).exclude(state=State.RUNNING).update(result=None)
    return jobs.request(REBUILD, by=by)


def _goes_on(job: Job) -> bool:
    """What failed does not: it would fail again at the same place."""
    return job.attempts == 0 and bool((job.result or {}).get("going_on"))


def rebuild(renew: Renew) -> dict[str, Any]:
    """The job: one slice of it; raises jobs.Again when there is more to do, or the model's server or Qdrant
    is away. What cannot be embedded goes on to be found by its words."""
    try:
        embedder = get_embedder()
        size = embedder.size  # a model that cannot be had is said at once, and not row by row
    except EmbeddingError as error:
        _put_off(error)
    progress = _unfinished(embedder.name)
    turn = _Turn(progress, renew)
    try:
        for shelf in SHELVES:
            if shelf not in progress.finished:
                _rebuild(get_index(shelf), embedder, size, turn)
                progress.finished.append(shelf)
                progress.shelf, progress.collection, progress.last = None, None, 0
    except (EmbeddingError, MemoryUnavailable) as error:
        turn.tell()
        _put_off(error)
    logger.info("memory: rebuilt, %d of %d embedded", progress.embedded, progress.total)
    progress.going_on = False
    return asdict(progress)


def _put_off(error: EmbeddingError | MemoryUnavailable) -> NoReturn:
    if not error.retryable:
        raise error
    logger.warning("memory: the rebuild waits: %s", error)
    raise jobs.Again(AGAIN_SECONDS, str(error)) from error


def _unfinished(model: str) -> Progress:
    """What was begun for `model` goes on; what was begun for another begins anew."""
    kept = jobs.last_result(REBUILD)
    if kept.get("going_on") and kept.get("model") == model:
        return Progress(**{each.name: kept[each.name] for each in fields(Progress) if each.name in kept})
    return Progress(model, total=entries().count())


class _Turn:
    """A slice's clock, and who hears of the progress."""

    def __init__(self, progress: Progress, renew: Renew) -> None:
        self.progress = progress
        self._renew = renew
        self._end = time.monotonic() + SLICE_SECONDS
        self._told = time.monotonic()

    def tell(self) -> None:
        self._told = time.monotonic()
        self._renew(result=asdict(self.progress))

    def step(self) -> None:
        """After each row: the lease is renewed now and then."""
        if time.monotonic() - self._told > TELL_SECONDS:
            self.tell()

    def look_at_clock(self) -> None:
        """Between batches, when what is done is known to be done."""
        if time.monotonic() > self._end:
            self.tell()
            raise jobs.Again(0)


def _rebuild(index: Index, embedder: Embedder, size: int, turn: _Turn) -> None:
    """One shelf."""
    building, name = _building(index, embedder.name, size, turn.progress)
    try:
        since = _build(building, embedder, turn)
        index.switch(building, name)
    finally:
        if building.store is not index.store:
            building.store.close()
    _catch_up(index, since, embedder, turn)  # written to the old one until a moment ago
    _promote(index.shelf, embedder.name)
    turn.tell()


def _build(building: Index, embedder: Embedder, turn: _Turn) -> datetime:
    """Embed what has to be, and put everything into `building`; the moment up to which all is in it."""
    since = datetime.fromisoformat(turn.progress.since)
    for rows in _batches(building.shelf, after=turn.progress.last):
        _embed(rows, embedder, building.size(), turn)
        if not building.store.in_process:
            building.add([document(row, embedder.name, building.size()) for row in rows])
        turn.progress.last = rows[-1].pk
        turn.look_at_clock()
    if building.store.in_process:
        with building.load():
            load_all(building, embedder.name)
    return _catch_up(building, since, embedder, turn)


def _building(index: Index, model: str, size: int, progress: Progress) -> tuple[Index, str]:
    """What will be searched: for a server the collection begun before, if it is still there."""
    known = progress.collection if progress.shelf == index.shelf else None
    building, name, is_new = index.beside(known, model, size)
    if is_new:
        progress.before = progress.before if progress.shelf == index.shelf else progress.done
        progress.shelf, progress.collection, progress.last = index.shelf, name, 0
        progress.done, progress.since = progress.before, timezone.now().isoformat()
    return building, name


def _batches(shelf: Shelf, *, after: int, **changed: Any) -> Iterator[list[MemoryEntry]]:
    rows = entries(shelf).filter(**changed).order_by("pk")
    while batch := list(rows.filter(pk__gt=after)[:BATCH_ROWS]):
        yield batch
        after = batch[-1].pk


def _embed(rows: list[MemoryEntry], embedder: Embedder, size: int | None, turn: _Turn) -> None:
    """Give each row vectors of the model to be, if it has none of this size."""
    for row in rows:
        again = row.next_model == embedder.name and row.next_vector is None
        if again or vectors_of(row, embedder.name, size) is None:
            made = _embed_row(row, embedder, turn.progress)
            turn.progress.failed += not made
        turn.progress.done += 1
        turn.step()


def _embed_row(row: MemoryEntry, embedder: Embedder, progress: Progress) -> bool:
    """False when no vector can be made of its text."""
    try:
        vectors = packed(embedder.embed(passages(row.text)))
    except EmbeddingError as error:
        if error.retryable:
            raise
        logger.warning("memory entry %s has no vector: %s", row.pk, error)
        return False
    # Not when the text has become another one meanwhile: then the row is met again as a changed one.
    same = entries().filter(pk=row.pk, content_hash=row.content_hash)
    if same.update(next_vector=vectors, next_model=embedder.name):
        row.next_vector, row.next_model = vectors, embedder.name
        progress.embedded += 1
    return True


def _catch_up(index: Index, since: datetime, embedder: Embedder, turn: _Turn) -> datetime:
    """Put into `index` what changed since then; the moment up to which all is in it."""
    now = timezone.now()
    for rows in _batches(index.shelf, after=0, updated_at__gt=since - STRAGGLERS):
        size = index.size()
        lacking = [row for row in rows if vectors_of(row, embedder.name, size) is None]
        for row in lacking:
            _embed_row(row, embedder, turn.progress)
        index.add([document(row, embedder.name, size) for row in rows])
        turn.step()
    return now


def _promote(shelf: Shelf, model: str) -> None:
    """Make the new vectors the rows' own. In batches: a memory may hold a million."""
    last = 0
    begun = entries(shelf).exclude(next_model="").order_by("pk").values_list("pk", flat=True)
    while keys := list(begun.filter(pk__gt=last)[:BATCH_ROWS]):
        last = keys[-1]
        with transaction.atomic():
            rows = entries().filter(pk__in=keys)
            rows.filter(next_model=model, next_vector__isnull=False).update(
                vector=F("next_vector"), model=model, next_vector=None, next_model=""
            )
            rows.exclude(next_model="").update(next_vector=None, next_model="")
