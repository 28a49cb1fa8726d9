"""The audit trail: who decided what, when, about what. Read in pages, so that a million events fit."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db.models import Max, QuerySet, Value
from django.db.models.functions import Coalesce

from incidents.models import Event
from incidents.redaction import clean_tree

Kind = Event.Kind
# What a person or the crew decides, and what becomes of it. The rest happens, or is told.
HAPPENS = frozenset(
    {
        Kind.OPENED,
        Kind.JOINED,
        Kind.RESOLVED_BY_SENDER,
        Kind.CONTESTED,
        Kind.AGENT,
        Kind.PROOF,
        Kind.NOTIFIED,
        Kind.RECURRED,
    }
)
DECISIONS = tuple(kind.value for kind in Kind if kind not in HAPPENS)
PAGE = 1000
COLUMNS = ("id", "at", "kind", "actor", "incident", "alert", "target", "text", "data")
FIELDS = {"incident": "incident_id", "alert": "incident__alert_name", "target": "incident__target__key"}
# A spreadsheet takes what begins so for a formula, and may send what it reads anywhere.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def of(filters: Mapping[str, Any], kinds: Collection[str] | None = DECISIONS) -> Iterator[dict[str, Any]]:
    """Events in the order in which they were written, as COLUMNS; those that there are at the beginning.

    `kinds`: None for all. Times are RFC 3339 in UTC.
    """
    rows = Event.objects.filter(**filters)
    if kinds is not None:
        # By no index: in the order of one, each page would be looked for in the whole table.
        rows = rows.alias(said=Coalesce("kind", Value(""))).filter(said__in=kinds)
    last: int | None = Event.objects.aggregate(last=Max("pk"))["last"]
    if last is None:
        return
    after = 0
    while page := _page(rows.filter(pk__gt=after, pk__lte=last)):
        yield from page
        after = page[-1]["id"]


def _page(rows: QuerySet[Event]) -> list[dict[str, Any]]:
    found = rows.order_by("pk").values_list(*(FIELDS.get(name, name) for name in COLUMNS))[:PAGE]
    # Redacted when they leave: the labels of alerts are kept as their sender wrote them.
    return [
        dict(zip(COLUMNS, (pk, _utc(at), *map(clean_tree, rest)), strict=True)) for pk, at, *rest in found
    ]


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Line:
    """A file that gives back what is written to it."""

    def write(self, line: str) -> str:
        return line


def as_csv(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """With a header, as RFC 4180 has it, and no cell that a spreadsheet would run."""
    writer = csv.writer(_Line(), quoting=csv.QUOTE_ALL)
    yield writer.writerow(COLUMNS)
    for event in events:
        cells = {**event, "data": json.dumps(event["data"], ensure_ascii=False, sort_keys=True)}
        yield writer.writerow([_inert(cells[name]) for name in COLUMNS])


def _inert(value: object) -> str:
    cell = "" if value is None else str(value)
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def as_json_lines(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A JSON object a line."""
    for event in events:
        yield json.dumps(event, ensure_ascii=False) + "\n"
