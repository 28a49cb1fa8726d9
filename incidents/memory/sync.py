"""From an incident to its entry, and from the entry to the index."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress

from django.db import transaction
from django.utils import timezone

from incidents import tally
from incidents.memory.compose import compose
from incidents.memory.embed import get_embedder, passages
from incidents.memory.errors import EmbeddingError, MemoryUnavailable
from incidents.memory.index import Index, get_index
from incidents.memory.load import look_again, searched
from incidents.memory.rows import document, entries, packed, shelf_of, vectors_of
from incidents.models import Incident, MemoryEntry
from incidents.queue import State, anew, working

logger = logging.getLogger(__name__)


@transaction.atomic
def remember(incident: Incident) -> MemoryEntry:
    """The entry of `incident` as it is now: waiting to be synced when it changed, untouched otherwise. The
    caller hints the task."""
    text, payload = compose(incident)
    content = json.dumps([text, payload], sort_keys=True).encode()
    content_hash = hashlib.sha256(content).hexdigest()
    fields = {
        "title": incident.alert_name,
        "happened_at": incident.closed_at or incident.opened_at,
        "signature": payload["signature"],
        "text": text,
        "payload": payload,
        "content_hash": content_hash,
    }
    entry, created = entries().select_for_update().get_or_create(incident=incident, defaults=fields)
    if created:
        tally.add([tally.one("memory", MemoryEntry.Kind.INCIDENT)])
    if created or entry.content_hash == content_hash:
        return entry
    if entry.text != text:  # what it said before must not be found again
        entry.vector, entry.model, entry.next_vector, entry.next_model = None, "", None, ""
    for name, value in {**fields, **anew()}.items():
        setattr(entry, name, value)
    entry.lease_until = entry.synced_at = None
    entry.save()
    return entry


def sync(entry_pk: int) -> bool:
    """Embed one entry and write it to the index; False when it was not due, or has to wait."""
    row = MemoryEntry.queue.claim(entry_pk)
    if row is None:
        return False
    with working(row):
        index = get_index(shelf_of(row))
        try:
            if not _write(row, index):
                return False
        except (EmbeddingError, MemoryUnavailable) as error:
            _wait(row, error)
            return False
        now = timezone.now()
        done = bool(row.finish(synced_at=now, updated_at=now))
        if not done:
            _write_again(row)
    look_again(index)
    return done


def _write(row: MemoryEntry, index: Index) -> bool:
    """Embed and index; False when the row's lease was lost. What cannot be embedded is found by its words."""
    model = ""
    try:
        model = searched(index)
        if not _embed(row, model, index.size()):
            return False
    except EmbeddingError:
        with suppress(MemoryUnavailable):
            index.add([document(row, model, index.size())])
        raise
    if (made := vectors_of(row, model)) is not None:
        index.given = made.shape[1]
    index.add([document(row, model, index.size())])
    return True


def _embed(row: MemoryEntry, model: str, size: int | None) -> bool:
    """Give the row vectors of `model`, which is searched; False when its lease was lost."""
    if vectors_of(row, model, size) is not None:
        return True
    # `update` passes `auto_now` by, and other processes look for rows that changed
    now = timezone.now()
    try:
        vectors = get_embedder(model).embed(passages(row.text))
    except EmbeddingError:
        embedder = get_embedder()
        if embedder.name == model:
            raise
        # The old model is gone and a rebuild is under way: it wants the new one's.
        vectors = embedder.embed(passages(row.text))
        return row.save_progress(next_vector=packed(vectors), next_model=embedder.name, updated_at=now)
    return row.save_progress(vector=packed(vectors), model=model, updated_at=now)


def _wait(row: MemoryEntry, error: EmbeddingError | MemoryUnavailable) -> None:
    logger.warning("memory entry %s waits: %s", row.pk, error)
    # What died is revived by `fill`: a repaired setting needs a new start anyway.
    if not row.fail(str(error), permanent=not error.retryable):
        _write_again(row)


def _write_again(row: MemoryEntry) -> None:
    """Its lease was lost on the way to the index: what another worker put there may be overwritten."""
    entries().filter(pk=row.pk, state=State.DONE).update(**anew(), updated_at=timezone.now())
