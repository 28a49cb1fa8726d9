"""Storm mode: when many incidents come at once, the money is kept for the critical ones."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from agents.reasoners.rungs import Rung
from incidents.models import Incident


def raging() -> bool:
    """More than STORM_INCIDENTS were opened in the last STORM_SECONDS. Reads one row, of however many."""
    opened = Incident.objects.newest_first().values_list("opened_at", flat=True)
    nth = opened[settings.STORM_INCIDENTS : settings.STORM_INCIDENTS + 1].first()
    return nth is not None and nth > timezone.now() - timedelta(seconds=settings.STORM_SECONDS)


def refusal(incident: Incident, rung: Rung) -> str | None:
    """Why a model that costs money is not for this incident now, or None."""
    if rung.free or incident.severity_class == "critical" or not raging():
        return None
    minutes = settings.STORM_SECONDS / 60
    return (
        f"storm: more than {settings.STORM_INCIDENTS} incidents in {minutes:g} minutes, "
        "and this model is kept for critical ones"
    )
