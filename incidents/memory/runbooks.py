"""The runbooks that fit an alert. What one says is advice of whoever wrote it, and untrusted text."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from incidents.memory.bookshelf import SHELF
from incidents.memory.embed import MAX_CHARS
from incidents.memory.errors import MemoryUnavailable
from incidents.memory.folder import place_of
from incidents.memory.fuse import ABSTAIN_BELOW
from incidents.memory.index import get_index
from incidents.memory.load import refresh_if_due
from incidents.memory.markdown import fold
from incidents.memory.rows import entries
from incidents.models import MemoryEntry
from incidents.redaction import clean

logger = logging.getLogger(__name__)

WEIGHED = 40  # candidates that are read from the database

BY_URL = "the alert's runbook_url names it"
BY_NAME = "it is named as the alert is"
BY_TEXT = "its text is like the alert's"


@dataclass(frozen=True, slots=True)
class Runbook:
    """A section that fits. `score`: 0 to 1, how sure we are. `text`, `heading` and `url` are untrusted."""

    entry_id: int
    path: str
    heading: str
    url: str | None
    text: str
    score: float
    why: str


@dataclass(frozen=True, slots=True)
class _Link:
    """What a `runbook_url` names: the page's place, folded, and a heading's anchor."""

    place: tuple[str, ...] = ()
    anchor: str = ""

    @classmethod
    def of(cls, url: str | None) -> Self:
        try:
            parts = urlsplit(url or "")
        except ValueError:  # a sender may write anything there
            return cls()
        pieces = place_of(unquote(parts.path).strip("/"))
        return cls(tuple(map(fold, pieces)), unquote(parts.fragment))

    @property
    def page(self) -> str:
        return self.place[-1] if self.place else ""

    def agrees(self, path: str) -> int:
        """How many pieces from the end are those of a file's path; 0: it is another file."""
        pairs = zip(reversed(self.place), map(fold, reversed(place_of(path))), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@dataclass
class _Weighed:
    row: MemoryEntry
    fit: tuple[int, ...] = (0, 0, 0)  # by the link: pieces that agree, the section; by name
    rank: float = field(default=float("-inf"))
    confidence: float = 0.0


def find_runbooks(
    query: str, *, alert_name: str | None = None, runbook_url: str | None = None, limit: int = 3
) -> list[Runbook]:
    """The sections that fit, best first; empty when none does. What the alert's `runbook_url` names comes
    first, then what is named as the alert is, then what is like `query`. Raises MemoryUnavailable when
    nothing can be searched and nothing is named."""
    link = _Link.of(runbook_url)
    found = {row.pk: _Weighed(row) for row in _named(alert_name, link)}
    for weighed in found.values():
        weighed.fit = _fit(weighed.row.payload, alert_name, link)
    try:
        _search(query, found)
    except MemoryUnavailable as error:
        if not found:
            raise
        logger.warning("runbooks: by name alone: %s", error)
    order = sorted(found.values(), key=lambda each: (each.fit, each.rank, -each.row.pk), reverse=True)
    sure = [each for each in order if any(each.fit) or each.confidence >= ABSTAIN_BELOW]
    return [_as_runbook(each) for each in sure[:limit]]


def _named(alert_name: str | None, link: _Link) -> list[MemoryEntry]:
    rows = entries(SHELF).defer("vector", "next_vector")
    wanted: list[MemoryEntry] = []
    if name := fold(alert_name or ""):
        wanted += rows.filter(payload__names__icontains=f'"{name}"')
    if link.page:
        wanted += rows.filter(payload__file=link.page)
    return wanted


def _fit(payload: dict[str, Any], alert_name: str | None, link: _Link) -> tuple[int, ...]:
    agrees = link.agrees(payload["path"]) if link.page else 0
    section = bool(agrees and link.anchor and link.anchor == payload["anchor"])
    named = bool(alert_name) and fold(alert_name or "") in payload["names"]
    return agrees, int(section), int(named)


def _search(query: str, found: dict[int, _Weighed]) -> None:
    """Add what the index finds, and give everything its rank."""
    refresh_if_due(SHELF)
    index = get_index(SHELF)
    # cleaned, for it may be embedded elsewhere
    candidates = index.search(clean(query)[:MAX_CHARS], also=tuple(found)).candidates
    best = {each.key for each in candidates[:WEIGHED]}
    rows = entries(SHELF).defer("vector", "next_vector").in_bulk(list(best - found.keys()))
    for candidate in candidates:
        if candidate.key in rows:
            found[candidate.key] = _Weighed(rows[candidate.key])
        elif candidate.key in best and candidate.key not in found:
            index.remove(candidate.key)  # deleted since
        if candidate.key in found:
            found[candidate.key].rank = candidate.rank
            found[candidate.key].confidence = candidate.confidence


def _as_runbook(weighed: _Weighed) -> Runbook:
    by_link, _, by_name = weighed.fit
    row, named = weighed.row, bool(by_link or by_name)
    return Runbook(
        entry_id=row.pk,
        path=row.payload["path"],
        heading=row.payload["heading"],
        url=row.payload["url"],
        text=row.text,
        score=1.0 if named else round(weighed.confidence, 4),
        why=BY_URL if by_link else BY_NAME if by_name else BY_TEXT,
    )
