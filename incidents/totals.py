"""The numbers that `/health`, `/stats` and `/metrics` give, each from one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from incidents import tally
from incidents.counts import IN_PROGRESS
from incidents.models import RESOLUTION_STATUS, SEVERITIES, Verdict
from incidents.tally import MICRO, Series

SUCCESSES = (Verdict.VERIFIED, Verdict.CLEARED_BEFORE_ACTION)


@dataclass(frozen=True)
class Totals:
    """Counts of incidents; rates from 0 to 1 and seconds are None while nothing is closed."""

    incidents: int
    by_severity: dict[str, int]
    by_verdict: dict[str, int]
    by_status: dict[str, int]
    by_source: dict[str, int]
    success_rate: float | None
    fixed_by_crew_rate: float | None
    avg_resolution_seconds: float | None


def totals(counted: Mapping[Series, int] | None = None) -> Totals:
    """From the tally, which is read for it unless it is given; never from the table of incidents."""
    counted = tally.read() if counted is None else counted
    by_severity = dict.fromkeys(SEVERITIES, 0)
    by_verdict = {IN_PROGRESS: 0, **dict.fromkeys(Verdict.values, 0)}
    by_source: dict[str, int] = {}
    for series, amount in counted.items():
        if series[0] == "incidents":
            _name, severity, verdict, source = series
            by_severity[severity] += amount
            by_verdict[verdict] += amount
            by_source[source] = by_source.get(source, 0) + amount
    by_status = dict.fromkeys(RESOLUTION_STATUS.values(), 0)
    for verdict, count in by_verdict.items():
        by_status[RESOLUTION_STATUS[None if verdict == IN_PROGRESS else verdict]] += count
    success_rate, fixed_by_crew_rate = rates(by_verdict)
    proved = counted.get(("proved", "count"), 0)
    return Totals(
        incidents=sum(by_severity.values()),
        by_severity=by_severity,
        by_verdict=by_verdict,
        by_status=by_status,
        by_source=by_source,
        success_rate=success_rate,
        fixed_by_crew_rate=fixed_by_crew_rate,
        avg_resolution_seconds=counted[("proved", "sum")] / MICRO / proved if proved else None,
    )


def percent(share: float | None) -> float | None:
    """A share from 0 to 1 as the API gives it; None stays what it is."""
    return None if share is None else round(share * 100, 2)


def rates(by_verdict: Mapping[str, int]) -> tuple[float | None, float | None]:
    """success_rate and fixed_by_crew_rate, from 0 to 1, of what ended; None while nothing has that counts."""
    judged = sum(by_verdict[each] for each in Verdict if each != Verdict.FALSE_ALARM)
    if not judged:
        return None, None
    return sum(by_verdict[each] for each in SUCCESSES) / judged, by_verdict[Verdict.VERIFIED] / judged
