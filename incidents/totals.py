"""The numbers that `/health`, `/stats` and `/metrics` give, each from one place."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Sum

from incidents.models import SEVERITIES, Incident, Verdict

SUCCESSES = (Verdict.VERIFIED, Verdict.CLEARED_BEFORE_ACTION)


@dataclass(frozen=True)
class Totals:
    """Counts of incidents; rates from 0 to 1 and seconds are None while nothing is closed."""

    incidents: int
    by_severity: dict[str, int]
    by_verdict: dict[str, int]
    success_rate: float | None
    fixed_by_crew_rate: float | None
    avg_resolution_seconds: float | None


def totals() -> Totals:
    """One pass over the table."""
    rows = (
        Incident.objects.order_by()
        .values("severity_class", "verdict")
        .annotate(n=Count("id"), timed=Count("resolution_seconds"), seconds=Sum("resolution_seconds"))
    )
    by_severity = dict.fromkeys(SEVERITIES, 0)
    by_verdict = dict.fromkeys(Verdict.values, 0)
    in_progress, timed, seconds = 0, 0, 0.0
    for row in rows:
        by_severity[row["severity_class"]] += row["n"]
        if row["verdict"] is None:
            in_progress += row["n"]
            continue
        by_verdict[row["verdict"]] += row["n"]
        if row["verdict"] in SUCCESSES and row["timed"]:
            timed, seconds = timed + row["timed"], seconds + row["seconds"]
    counted = sum(by_verdict.values()) - by_verdict[Verdict.FALSE_ALARM]
    return Totals(
        incidents=sum(by_severity.values()),
        by_severity=by_severity,
        by_verdict={"in_progress": in_progress, **by_verdict},
        success_rate=_share(sum(by_verdict[each] for each in SUCCESSES), counted),
        fixed_by_crew_rate=_share(by_verdict[Verdict.VERIFIED], counted),
        avg_resolution_seconds=seconds / timed if timed else None,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
