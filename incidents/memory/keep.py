"""Entries that are no incident of ours: written to the database when they are new or changed.

No worker is told: rows that wait are found by the sweep of the server, which embeds and indexes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from django.db import transaction
from django.utils import timezone

from incidents.memory.embed import MAX_CHARS
from incidents.memory.rows import entries
from incidents.models import MemoryEntry
from incidents.queue import anew
from incidents.redaction import clean, clean_tree

LONGEST_KEY = 300
LONGEST_TITLE = 300
HASH_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Given:
    """What is to be remembered, redacted. `key` is its own for ever: by it, it is known again."""

    key: str
    kind: MemoryEntry.Kind
    title: str
    text: str
    payload: dict[str, Any] = field(default_factory=dict)
    happened_at: datetime | None = None

    @classmethod
    def redacted(
        cls,
        key: str,
        kind: MemoryEntry.Kind,
        *,
        title: str,
        text: str,
        payload: dict[str, Any],
        happened_at: datetime | None = None,
    ) -> Self:
        title, text = clean(title)[:LONGEST_TITLE], clean(text)[:MAX_CHARS]
        return cls(_fitting(key), kind, title, text, clean_tree(payload), happened_at)

    @property
    def fields(self) -> dict[str, Any]:
        """Of the row, its hash included."""
        said = [self.title, self.text, self.payload, str(self.happened_at)]
        return {
            "title": self.title,
            "text": self.text,
            "payload": self.payload,
            "happened_at": self.happened_at,
            "content_hash": hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest(),
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """How many were new, changed, or known already."""

    new: int = 0
    changed: int = 0
    same: int = 0

    def __add__(self, other: Kept) -> Kept:
        return Kept(self.new + other.new, self.changed + other.changed, self.same + other.same)


@transaction.atomic
def keep(given: Sequence[Given], *, dry_run: bool = False) -> Kept:
    """Write what is new or changed. A text that changed loses its vector and waits for another; with
    `dry_run` nothing is written."""
    wanted = {each.key: each for each in given}
    known = entries().select_for_update().defer("vector", "next_vector").filter(key__in=wanted)
    rows = {row.key: row for row in known}
    fields = {key: each.fields for key, each in wanted.items()}
    changed = [row for key, row in rows.items() if row.content_hash != fields[key]["content_hash"]]
    new = [MemoryEntry(key=key, kind=wanted[key].kind, **fields[key]) for key in wanted if key not in rows]
    if not dry_run:
        MemoryEntry.objects.bulk_create(new, ignore_conflicts=True)  # two may take over the same at once
        for row in changed:
            _change(row, fields[row.key])
    return Kept(len(new), len(changed), len(rows) - len(changed))


def _change(row: MemoryEntry, fields: dict[str, Any]) -> None:
    """As the row is waiting from now on, what a worker that has it now may write is dropped."""
    if row.text != fields["text"]:  # what it said before must not be found again
        fields = {**fields, "vector": None, "model": "", "next_vector": None, "next_model": ""}
    now = timezone.now()
    entries().filter(pk=row.pk).update(**fields, **anew(), lease_until=None, synced_at=None, updated_at=now)


def _fitting(key: str) -> str:
    """The key, where it is too long with a hash in place of its end."""
    if len(key) <= LONGEST_KEY:
        return key
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:HASH_LENGTH]
    return f"{key[: LONGEST_KEY - HASH_LENGTH - 1]}~{digest}"
