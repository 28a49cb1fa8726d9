"""The totals of what stands now, compared with the tables, and put right.

They are exact as long as every process counts. One of a release before the totals, that is still at work
after their migration, opens and closes incidents and counts nothing. What it did is in the tables, but not
when: so what only ever grows (`incidents_closed`, the histograms) is left, for to catch up at once would tell
of a burst that never was.
"""

from __future__ import annotations

import json
from collections import Counter

from incidents import rawsql, tally, turns
from incidents.counts import IN_PROGRESS
from incidents.tally import LONGEST, Series

MOST = int(LONGEST)  # seconds, of which more are counted as so many
STANDING = ("incidents", "memory", "proved")
# One statement is one snapshot: what is written beside it is in the tables and the totals, or in neither.
BOTH = """
SELECT 'incidents', NULL, COUNT(*), severity_class, verdict, source, COUNT(resolution_seconds), SUM(CAST(
    ROUND(1000000 * CASE WHEN resolution_seconds > {} THEN {} ELSE resolution_seconds END) AS BIGINT))
    FROM incidents_incident GROUP BY severity_class, verdict, source
UNION ALL SELECT 'memory', kind, COUNT(*), NULL, NULL, NULL, NULL, NULL
    FROM incidents_memoryentry WHERE kind = 'incident' GROUP BY kind
UNION ALL SELECT 'series', series, amount, NULL, NULL, NULL, NULL, NULL FROM incidents_tally
UNION ALL SELECT 'changes', amounts, NULL, NULL, NULL, NULL, NULL, NULL FROM incidents_tallychange"""
TURN, TURN_SECONDS = "recount", 60.0


class Busy(Exception):
    """Another one is at it: both would add what is missing."""


def recount(*, repair: bool) -> dict[Series, tuple[int, int]]:
    """The series that are not what the tables say: counted, and there. Corrected by one change, if wanted.

    Beside whatever else is counted meanwhile, for a correction is an addition like any other. Busy when
    another process does it.
    """
    if repair and not turns.take(TURN, seconds=TURN_SECONDS):
        raise Busy
    try:
        wrong = _differences()
        if repair:
            tally.add((series, there - counted) for series, (counted, there) in wrong.items())
    finally:
        if repair:
            turns.give_back(TURN)
    return wrong


def _differences() -> dict[Series, tuple[int, int]]:
    counted: Counter[Series] = Counter()
    there: Counter[Series] = Counter()
    for what, text, amount, severity, verdict, source, proved, took in rawsql.rows(BOTH, MOST, MOST):
        if what == "series":
            counted[tuple(json.loads(text))] += amount
        elif what == "changes":
            for series, part in json.loads(text):
                counted[tuple(series)] += part
        elif what == "memory":
            there["memory", text] += amount
        else:
            there["incidents", severity, verdict or IN_PROGRESS, source] += amount
            there["proved", "count"] += proved
            there["proved", "sum"] += int(took or 0)
    every = sorted(series for series in counted.keys() | there.keys() if series[0] in STANDING)
    pairs = {series: (counted[series], there[series]) for series in every}
    return {series: pair for series, pair in pairs.items() if pair[0] != pair[1]}
