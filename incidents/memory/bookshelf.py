"""The shelf of runbooks: the sections of the Markdown files in RUNBOOKS_DIR, as entries.

The folder is the truth here. A job looks at it, and reads it when a file may have changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from incidents import jobs
from incidents.memory import folder
from incidents.memory.folder import File, Skipped
from incidents.memory.index import Shelf, get_index
from incidents.memory.keep import Given, Kept, keep
from incidents.memory.markdown import Section, alert_names, fold
from incidents.memory.rows import entries
from incidents.models import MemoryEntry
from incidents.queue import State
from incidents.redaction import clean

logger = logging.getLogger(__name__)

JOB = "read_runbooks"
EVERY_SECONDS = 30.0
SHELF: Shelf = "runbooks"
BATCH = 200
SKIPPED_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """What a folder holds. `unknown`: paths that could not be read, so may be as they were."""

    files: tuple[File, ...]
    skipped: tuple[str, ...]
    unknown: tuple[str, ...]
    signature: str

    @property
    def given(self) -> list[Given]:
        return [_given(file, section) for file in self.files for section in file.document.sections]


def read(where: Path, renew: Callable[[], None] = lambda: None) -> Reading:
    """Read the whole folder; OSError when there is none."""
    looked = folder.look(where)
    files: list[File] = []
    skipped = list(looked.skipped)
    for number, path in enumerate(looked.paths):
        found = folder.read(where, path)
        if isinstance(found, Skipped):
            skipped.append(found)
        else:
            files.append(found)
        if number % BATCH == 0:
            renew()
    notes = [f"{file.path}: {note}" for file in files for note in file.document.notes]
    return Reading(
        tuple(files),
        (*map(str, skipped), *notes),
        tuple(each.path for each in skipped if each.unknown),
        looked.signature,
    )


def run(renew: Callable[[], None]) -> dict[str, Any]:
    """The job: make the entries be what the folder holds. The next run reads its result."""
    before = jobs.last_result(JOB)
    where = settings.RUNBOOKS_DIR
    if where is None:
        return {"removed": _remove(list(entries(SHELF).values_list("pk", flat=True)), renew)}
    try:
        signature = f"{settings.VERSION} {where} {folder.look(where).signature}"
        if before.get("signature") == signature and entries(SHELF).count() == before["sections"]:
            return before
        reading = read(where, renew)
    except OSError as error:
        # Away for a while, perhaps: what is known of it stays.
        if before.get("error") != (said := f"{where} cannot be read: {error.strerror}"):
            logger.warning("runbooks: %s", said)
        return {**before, "signature": "", "error": said}
    result = {**_take(reading, renew), "signature": signature}
    logger.info("runbooks: %s", {name: each for name, each in result.items() if name != "signature"})
    return result


def _take(reading: Reading, renew: Callable[[], None]) -> dict[str, Any]:
    given, kept = reading.given, Kept()
    for start in range(0, len(given), BATCH):
        kept += keep(given[start : start + BATCH])
        renew()
    wanted = {each.key for each in given}
    known = entries(SHELF).values_list("pk", "key", "payload__path")
    gone = [pk for pk, key, path in known if key not in wanted and not _is_in(path, reading.unknown)]
    removed = _remove(gone, renew)
    return {
        "files": len(reading.files),
        "sections": entries(SHELF).count(),
        "new": kept.new,
        "changed": kept.changed,
        "removed": removed,
        "skipped": [clean(each) for each in reading.skipped[:SKIPPED_SHOWN]],
        "skipped_count": len(reading.skipped),
    }


def counts() -> tuple[int, int]:
    """How many sections are indexed, and how many wait to be."""
    rows = entries(SHELF)
    done = rows.filter(state=State.DONE, vector__isnull=False).count()
    return done, rows.count() - done


def _is_in(path: str | None, unknown: Iterable[str]) -> bool:
    return path is not None and any(path == each or path.startswith(f"{each}/") for each in unknown)


def _remove(keys: Sequence[int], renew: Callable[[], None]) -> int:
    """Delete entries, and forget them in the index, which is asked until it does not answer; a process that
    still has them there drops them when it meets them."""
    index, answers = get_index(SHELF), True
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        entries(SHELF).filter(pk__in=batch).delete()
        answers = answers and index.remove(*batch)
        renew()
    return len(keys)


def _given(file: File, section: Section) -> Given:
    """A section as an entry. `names`: how an alert may name it, folded."""
    document = file.document
    named = [file.name, *document.alerts, *section.headings]
    named += [word for heading in section.headings for word in alert_names(heading)]
    lines = [" > ".join(section.path), f"alerts: {', '.join(document.alerts)}" * bool(document.alerts)]
    return Given.redacted(
        f"runbook:{file.path}#{section.anchor}",
        MemoryEntry.Kind.RUNBOOK,
        title=document.title,
        text="\n".join([*filter(None, lines), section.text]),
        payload={
            "path": file.path,
            "heading": " > ".join(section.path),
            "anchor": section.anchor,
            "url": document.url,
            "file": fold(file.name),
            "names": [name for name in dict.fromkeys(map(fold, named)) if name],
        },
    )
