"""Past incidents like this one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from incidents.memory.by_name import BY_NAME_ALONE, by_name
from incidents.memory.embed import MAX_CHARS
from incidents.memory.errors import MemoryUnavailable
from incidents.memory.fuse import ABSTAIN_BELOW, Candidate
from incidents.memory.index import get_index
from incidents.memory.load import refresh_if_due
from incidents.memory.rows import entries
from incidents.models import MemoryEntry, Rating, Verdict
from incidents.redaction import clean

WEIGHED = 40  # candidates that are read from the database and weighed again
PROVEN_OF_ALERT = 20
LATEST_OF_ALERT = 1_000  # an alert that came a hundred thousand times must not be read through

# In z-scores: the best of a hundred candidates is at 3 to 5, the tenth a good one lower. A bonus settles what
# is close; it does not lift what is unlike.
SAME_ALERT = 0.6
SAME_KIND = 0.2
# A person's word on the cause outranks the proof of an action, and that any other end. What another memory
# says of its incidents nobody has proved.
SAID = 0.8
VERIFIED = 0.4
BY_HUMAN = 0.2
NOTED = 0.2
UNPROVEN = -0.3
RECENT = 0.3
RECENT_HALVES_AFTER = timedelta(days=30)
# Entries of one alert differ mostly by what was learned of each, and the more was learned, the less the text
# is like a fresh alert's. So among them only this share of the difference counts.
SHARE_WITHIN_ALERT = 0.15
# The name of the alert is evidence by itself, so it counts towards the certainty too.
SAME_ALERT_CERTAINTY = 0.4

# Of forty rows each further field is felt, and dates most.
READ = ("kind", "incident_id", "title", "happened_at", "updated_at", "text", "payload")
BY_WORDS_ALONE = "found by words alone: the vector search did not answer"


@dataclass(frozen=True, slots=True)
class Recalled:
    """`score`: 0 to 1, how sure we are that it is the same kind of trouble. `dense`: cosine, `lexical`: share
    of the query's words by weight; None where a side did not judge. `text` and `payload` are untrusted."""

    entry_id: int
    incident_id: int | None
    alert_name: str
    text: str
    score: float
    dense: float | None
    lexical: float | None
    why: tuple[str, ...]
    payload: dict[str, Any]


def recall(
    query: str,
    *,
    alert_name: str | None = None,
    target_kind: str | None = None,
    exclude_incident: int | None = None,
    limit: int = 3,
) -> list[Recalled]:
    """The past incidents most like `query`, best first; empty when nothing is like it. Raises
    MemoryUnavailable when nothing can be searched and no entry has the alert's name."""
    index = get_index()
    alert_name = clean(alert_name) if alert_name else None  # as an incident is called
    proven = _proven(alert_name)
    try:
        refresh_if_due()
        found = index.search(clean(query)[:MAX_CHARS], also=proven)  # it may be embedded elsewhere
        note = (BY_WORDS_ALONE,) if found.dense_error else ()
    except MemoryUnavailable:
        found, note = by_name(alert_name), (BY_NAME_ALONE,)
        if not found.candidates:
            raise
    chosen = [
        candidate
        for place, candidate in enumerate(found.candidates)
        if place < WEIGHED or candidate.key in proven
    ]
    rows = _rows(candidate.key for candidate in chosen)
    for candidate in chosen:
        if candidate.key not in rows:
            index.remove(candidate.key)  # deleted since
    pairs = [
        (candidate, row)
        for candidate in chosen
        if (row := rows.get(candidate.key)) is not None
        and (row.incident_id is None or row.incident_id != exclude_incident)
    ]
    asked = _Asked(alert_name, target_kind, _best_of_alert(pairs), note)
    weighed = sorted((_weigh(*pair, asked) for pair in pairs), key=lambda each: each[0], reverse=True)
    return [recalled for _, recalled in weighed if recalled.score >= ABSTAIN_BELOW][:limit]


def _best_of_alert(pairs: Iterable[tuple[Candidate, MemoryEntry]]) -> dict[str, float]:
    """The highest rank by name of the alert."""
    best: dict[str, float] = {}
    for candidate, row in pairs:
        name = row.title
        best[name] = max(best.get(name, candidate.rank), candidate.rank)
    return best


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the candidates are weighed for. `best_of_alert`: the highest rank by name of the alert."""

    alert_name: str | None
    target_kind: str | None
    best_of_alert: Mapping[str, float]
    note: tuple[str, ...]


def _proven(alert_name: str | None) -> set[int]:
    """Of the latest entries of this alert, those whose cause a person confirmed or whose end was proven. A
    hundred later ones that look the same must not crowd them out."""
    if not alert_name:
        return set()
    of_alert = entries().filter(title=alert_name, incident__isnull=False).order_by("-happened_at")
    latest = entries().filter(pk__in=of_alert.values("pk")[:LATEST_OF_ALERT]).order_by("-incident_id")
    keys = latest.values_list("pk", flat=True)
    by_person = ~Q(incident__human_cause="") | Q(incident__rating=Rating.RIGHT)
    confirmed = keys.filter(by_person)[:PROVEN_OF_ALERT]
    verified = keys.filter(incident__verdict=Verdict.VERIFIED)[:PROVEN_OF_ALERT]
    return {*confirmed, *verified}


def _rows(keys: Iterable[int]) -> dict[int, MemoryEntry]:
    rows = entries().only(*READ).filter(pk__in=list(keys))
    return {row.pk: row for row in rows}


def _weigh(candidate: Candidate, row: MemoryEntry, asked: _Asked) -> tuple[float, Recalled]:
    """The candidate's place among the others, and what to say of it."""
    age = timezone.now() - (row.happened_at or row.updated_at)
    same_alert = asked.alert_name is not None and row.title == asked.alert_name
    same_kind = asked.target_kind is not None and row.payload.get("target_kind") == asked.target_kind
    verdict = row.payload.get("verdict")
    said, corrected = bool(row.payload.get("human_confirmed")), bool(row.payload.get("crew_cause"))
    best = asked.best_of_alert[row.title]
    place = best - SHARE_WITHIN_ALERT * (best - candidate.rank)
    reasons = [
        (same_alert, SAME_ALERT, "same alert"),
        (same_kind, SAME_KIND, "same kind of target"),
        (said and not corrected, SAID, "a person said the cause"),
        (said and corrected, SAID, "a person corrected the cause"),
        (corrected and not said, 0.0, "a person calls the crew's cause not right"),
        (bool(row.payload.get("note")) and not said, NOTED, "a person made a note"),
        (verdict == Verdict.VERIFIED, VERIFIED, "verified"),
        (verdict == Verdict.RESOLVED_BY_HUMAN, BY_HUMAN, "resolved by a person"),
        (verdict == Verdict.FALSE_ALARM, 0.0, "a false alarm"),
        (row.kind == MemoryEntry.Kind.IMPORTED, UNPROVEN, "from an earlier memory, unproven"),
        (True, RECENT * 0.5 ** (max(age, timedelta()) / RECENT_HALVES_AFTER), _ago(age)),
    ]
    place += sum(bonus for holds, bonus, _ in reasons if holds)
    unsure = 1 - candidate.confidence
    return place, Recalled(
        entry_id=row.pk,
        incident_id=row.incident_id,
        alert_name=clean(row.title),
        text=row.text,
        score=round(1 - unsure * (1 - SAME_ALERT_CERTAINTY if same_alert else 1.0), 4),
        dense=candidate.dense,
        lexical=candidate.lexical,
        why=(*(text for holds, _, text in reasons if holds), *asked.note),
        payload=row.payload,
    )


def _ago(age: timedelta) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(age.total_seconds() // length)
        if count > 0:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
