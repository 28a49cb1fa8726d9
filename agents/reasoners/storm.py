"""Storm mode: when many incidents come at once, the money is kept for the critical ones."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from agents.reasoners.rungs import Rung
from incidents import rawsql
from incidents.models import Incident

# By hand, as it is asked for each turn.
NTH = """
SELECT opened_at FROM (SELECT opened_at FROM incidents_incident ORDER BY id DESC LIMIT 1 OFFSET {}) nth
WHERE opened_at > {}"""


def raging() -> bool:
    """More than STORM_INCIDENTS were opened in the last STORM_SECONDS. Reads one row, of however many."""
    since = timezone.now() - timedelta(seconds=settings.STORM_SECONDS)
    return bool(rawsql.rows(NTH, settings.STORM_INCIDENTS, since))


def refusal(incident: Incident, rung: Rung) -> str | None:
    """Why a model that costs money is not for this incident now, or None."""
    if rung.free or incident.severity_class == "critical" or not raging():
        return None
    minutes = settings.STORM_SECONDS / 60
    return (
        f"storm: more than {settings.STORM_INCIDENTS} incidents in {minutes:g} minutes, "
        "and this model is kept for critical ones"
    )
