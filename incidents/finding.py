"""Incidents by words, as fast among a million as among ten.

Names of alerts and targets are few, and looked through whole; of each that fits, the newest incidents are
found by an index. Causes are prose, of which only those of the newest incidents are read. So an old cause is
not found by its words; who looks for one asks the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from incidents import rawsql
from incidents.models import Incident, Target

NAMES = 40  # of alerts, and of targets, that fit
EACH = 500  # newest incidents of each
CAUSES = 5_000  # newest incidents whose causes are read
FOUND = 1_000
KNOWN = 5_000  # names that are looked through

# One step down an index for each name, whatever the number of rows that have it.
DISTINCT = """
WITH RECURSIVE found(name) AS (
    SELECT MIN({column}) FROM incidents_incident
    UNION ALL
    SELECT (SELECT MIN({column}) FROM incidents_incident WHERE {column} > found.name)
    FROM found WHERE found.name IS NOT NULL
)
SELECT name FROM found WHERE name IS NOT NULL LIMIT {most}"""


@contextmanager
def planned_by_value() -> Iterator[None]:
    """Statements within are planned for their values.

    PostgreSQL gets used to a statement, and plans it once for all values then: to walk the table from its
    newest row, say, which is good for what many rows have, and for a rare value reads a million.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        yield


def alert_names() -> list[str]:
    """The names of all alerts that there were, in their order."""
    return _distinct("alert_name")


def sources() -> list[str]:
    """Who sent alerts, in their order."""
    return _distinct("source")


def _distinct(column: str) -> list[str]:
    return [name for (name,) in rawsql.rows(DISTINCT.format(column=column, most=KNOWN))]


def matching(rows: QuerySet[Incident], words: str) -> QuerySet[Incident]:
    """Those of `rows` with this number (`12`, `#12`), or whose alert, target or cause has these words."""
    words = words.strip()
    number = words.removeprefix("#")
    if number.isdecimal() and len(number) < 19:
        return rows.filter(pk=int(number))
    parts = [_sql(part) for part in _parts(rows, words)]
    known = [part for part in parts if part is not None]
    if not known:
        return rows.none()
    each = (f"SELECT id FROM ({sql}) part{place}" for place, (sql, _) in enumerate(known))  # noqa: S608 Django's own
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM ({' UNION '.join(each)}) found ORDER BY id DESC LIMIT {FOUND}",  # noqa: S608
            [value for _, values in known for value in values],
        )
        return rows.filter(pk__in=[pk for (pk,) in cursor.fetchall()])


def _parts(rows: QuerySet[Incident], words: str) -> Iterator[QuerySet[Incident]]:
    """Each walks one index, newest first, and stops early."""
    part = words.casefold()
    for name in [name for name in alert_names() if part in name.casefold()][:NAMES]:
        yield _newest(rows.filter(alert_name=name))
    for target in Target.objects.filter(key__icontains=words).order_by("-last_seen_at")[:NAMES]:
        yield _newest(rows.filter(target=target))
    last = Incident.objects.newest_first().values_list("pk", flat=True).first() or 0
    said = Q(root_cause__icontains=words) | Q(human_cause__icontains=words)
    yield _newest(rows.filter(said, pk__gt=last - CAUSES))


def _newest(rows: QuerySet[Incident]) -> QuerySet[Incident]:
    return rows.order_by("-pk")[:EACH]


def _sql(rows: QuerySet[Incident]) -> tuple[str, tuple[Any, ...]] | None:
    """The statement that finds the keys; None when nothing can be found."""
    try:
        return rows.values("id").query.sql_with_params()
    except EmptyResultSet:
        return None
