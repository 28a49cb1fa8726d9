"""What is counted of incidents, as changes of the tally."""

from __future__ import annotations

from collections.abc import Iterable

from incidents import rawsql
from incidents.models import Incident, Verdict
from incidents.tally import Change, micros, one, seconds

IN_PROGRESS = "in_progress"
PROVED = (Verdict.VERIFIED, Verdict.CLEARED_BEFORE_ACTION)
UNFIXED = (Verdict.NOT_FIXED, Verdict.RELAPSED)
CLASS_AND_SOURCE = "SELECT severity_class, source FROM incidents_incident WHERE id = {}"


def opened(incidents: Iterable[Incident]) -> list[Change]:
    """Incidents that are inserted by this transaction."""
    changes = []
    for incident in incidents:
        changes.append(one("incidents", incident.severity_class, IN_PROGRESS, incident.source))
        changes.append(one("incidents_opened", incident.severity_class, incident.source))
    return changes


def rose(incident: Incident, before: str) -> list[Change]:
    """An open incident's class of severity is another one than `before`."""
    if incident.severity_class == before:
        return []
    return [
        one("incidents", before, IN_PROGRESS, incident.source, times=-1),
        one("incidents", incident.severity_class, IN_PROGRESS, incident.source),
    ]


def judged(incident: Incident, before: str | None, proved_seconds: float | None = None) -> list[Change]:
    """An incident's verdict is another one than `before`; `proved_seconds` were its resolution until now.

    In the transaction that changed it, so that its severity, which another process may have raised since it
    was read, stays as it is.
    """
    severity, source = _class_and_source(incident)
    verdict = incident.verdict
    changes = [
        one("incidents", severity, before or IN_PROGRESS, source, times=-1),
        one("incidents", severity, verdict or IN_PROGRESS, source),
    ]
    if before in PROVED and proved_seconds is not None:
        changes += _proved(proved_seconds, -1)
    if verdict is None:
        return [*changes, one("incidents_reopened", severity)]
    changes.append(one("incidents_closed", severity, verdict))
    if verdict in UNFIXED:
        changes.append(one("incidents_escalated", severity))
    if incident.resolution_seconds is not None:
        changes += _proved(incident.resolution_seconds, 1)
        changes += seconds("resolution", severity, took=incident.resolution_seconds)
    return changes


def _proved(resolution: float, sign: int) -> list[Change]:
    """What the mean is made of: incidents that are closed with proof now."""
    return [one("proved", "count", times=sign), one("proved", "sum", times=sign * micros(resolution))]


def _class_and_source(incident: Incident) -> tuple[str, str]:
    found = rawsql.row(CLASS_AND_SOURCE, incident.pk)
    if found is None:
        raise Incident.DoesNotExist(f"{incident} is gone")
    return found[0], found[1]
