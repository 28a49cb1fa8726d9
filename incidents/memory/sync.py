"""From an incident to its entry, and from the entry to the index."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from incidents.memory.embed import get_embedder, passages
from incidents.memory.errors import EmbeddingError, MemoryUnavailable
from incidents.memory.index import get_index
from incidents.memory.rows import document, entries, model_in_use, packed, stored_vectors
from incidents.models import Incident, MemoryEntry
from incidents.queue import anew, working
from incidents.redaction import clean, clean_tree

logger = logging.getLogger(__name__)


def compose(incident: Incident) -> tuple[str, dict[str, Any]]:
    """What is remembered of an incident: the text that is searched, and the facts that come back with it."""
    systems = incident.affected_systems
    target = incident.target
    payload = {
        "incident_id": incident.pk,
        "timestamp": _rfc3339(incident.started_at),
        "alert_name": incident.alert_name,
        "description": incident.description,
        "severity": incident.severity,
        "affected_systems": systems,
        "root_cause": incident.human_cause or incident.root_cause,
        "remediation_taken": incident.remediation_taken,
        "resolution_status": incident.resolution_status,
        "resolution_time_seconds": incident.resolution_seconds,
        "verdict": incident.verdict,
        "target_kind": target.kind if target else None,
        "human_confirmed": bool(incident.human_cause),
        "signature": f"{incident.alert_name}@{target.key if target else ','.join(systems)}",
    }
    return clean(_text(incident, systems)), clean_tree(payload)


def _text(incident: Incident, systems: list[str]) -> str:
    """A line a fact, without lines for what is not known; a person's cause before the crew's."""
    labelled = (
        ("severity", incident.severity),
        ("systems", ", ".join(systems)),
        ("cause, confirmed by a person", incident.human_cause),
        ("cause", incident.root_cause),
        ("note", incident.human_note),
        ("remediation", incident.remediation_taken),
        ("verdict", incident.verdict),
    )
    lines = [incident.alert_name, incident.description]
    lines += [f"{label}: {fact}" for label, fact in labelled if fact]
    return "\n".join(line for line in lines if line)


@transaction.atomic
def remember(incident: Incident) -> MemoryEntry:
    """The entry of `incident` as it is now: waiting to be synced when it changed or its vector is another
    model's, untouched otherwise. The caller hints the task."""
    text, payload = compose(incident)
    content = json.dumps([text, payload], sort_keys=True).encode()
    content_hash = hashlib.sha256(content).hexdigest()
    fields = {
        "title": incident.alert_name,
        "happened_at": incident.closed_at or incident.opened_at,
        "text": text,
        "payload": payload,
        "content_hash": content_hash,
    }
    entry, created = entries().select_for_update().get_or_create(incident=incident, defaults=fields)
    same_model = entry.model in ("", model_in_use() or entry.model)
    if created or (entry.content_hash == content_hash and same_model):
        return entry
    if entry.text != text or not same_model:
        entry.vector, entry.model = None, ""  # what it said before must not be found again
    for name, value in {**fields, **anew()}.items():
        setattr(entry, name, value)
    entry.lease_until = entry.synced_at = None
    entry.save()
    return entry


def sync(entry_pk: int, *, again: bool = False) -> bool:
    """Embed one entry and write it to the index; False when it was not due, or has to wait. `again`: embed
    it even when it has a vector of the model in use."""
    row = MemoryEntry.queue.claim(entry_pk)
    if row is None:
        return False
    with working(row):
        try:
            if not _embed(row, again=again):
                return False
            index = get_index()
            remembered = document(row)
            index.add_words([remembered])
            index.add_vectors([remembered])
        except (EmbeddingError, MemoryUnavailable) as error:
            _wait(row, error)
            return False
        now = timezone.now()
        return bool(row.finish(synced_at=now, updated_at=now))


def _embed(row: MemoryEntry, *, again: bool) -> bool:
    """Give the row vectors of the model in use; False when its lease was lost."""
    if not again and stored_vectors(row) is not None:
        return True
    embedder = get_embedder()
    vectors = embedder.embed(passages(row.text))
    # `update` passes `auto_now` by, and other processes look for rows that changed
    return row.save_progress(vector=packed(vectors), model=embedder.name, updated_at=timezone.now())


def _wait(row: MemoryEntry, error: EmbeddingError | MemoryUnavailable) -> None:
    logger.warning("memory entry %s waits: %s", row.pk, error)
    # What died is revived by `fill`: a repaired setting needs a new start anyway.
    row.fail(str(error), permanent=not error.retryable)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
