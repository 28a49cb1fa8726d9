"""The owner's runbooks as a tool. What one says is advice and untrusted text: it proves nothing."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import DatabaseError

from agents.tools.base import Case, Health, Integration, Query, Result, ToolError, register, tool
from agents.tools.text import one_line
from incidents import memory
from incidents.memory import bookshelf

LONGEST_TEXT = 4000  # of one section
LONGEST_NAME = 200  # of a path, of a heading: both together are quoted


def check() -> Health:
    """What the folder holds now, and what of it can be found."""
    where = settings.RUNBOOKS_DIR
    assert where is not None, "asked only where it is configured"
    try:
        read = bookshelf.read(where)
        found, waiting = bookshelf.counts()
    except OSError as error:
        return Health(False, f"RUNBOOKS_DIR: {where} cannot be read: {error.strerror}")
    except DatabaseError:
        return Health(False, "the database cannot be read")
    said = f"{len(read.files)} files, {len(read.given)} sections, {found} indexed, {waiting} wait"
    skipped = "; ".join(one_line(each) for each in read.skipped[: bookshelf.SKIPPED_SHOWN])
    return Health(True, f"{said}; {len(read.skipped)} left out or cut: {skipped}" if skipped else said)


INTEGRATION = register(
    Integration(
        name="runbooks",
        configured=lambda: settings.RUNBOOKS_DIR is not None,
        check=check,
        settings=("RUNBOOKS_DIR",),
    )
)


@tool(INTEGRATION, always=True)
def search_runbooks(
    case: Case,
    query: Query = None,
) -> Result:
    """Sections of the owner's runbooks for this alert: what it means, what to look at, how to mend it."""
    text = query or " ".join(case.words)
    try:
        found = memory.find_runbooks(
            text,
            # a question of its own is not answered by what is named as the alert is
            alert_name=None if query else case.alert_name,
            runbook_url=None if query else case.annotations.get("runbook_url"),
        )
    except memory.MemoryUnavailable as error:
        raise ToolError(f"the runbooks cannot be searched: {error}", retryable=error.retryable) from error
    sections = [_section(each) for each in found]
    # All names first: of long texts an agent is shown pieces.
    names = "\n".join(f"{each['cite']} ({each['why']})" for each in sections)
    text = "\n\n".join([names, *(each["text"] for each in sections)])
    return Result(text or "no runbook is about this", {"count": len(sections), "runbooks": sections})


def _section(found: memory.Runbook) -> dict[str, Any]:
    """`cite` is how a diagnosis names it."""
    return {
        "cite": f"runbook: {one_line(found.path, LONGEST_NAME)}, {one_line(found.heading, LONGEST_NAME)}",
        "url": found.url,
        "score": round(found.score, 2),
        "why": found.why,
        "text": found.text[:LONGEST_TEXT],
    }
