"""The overview: what is open, what waits for a person, how it went, and what this program stands on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from agents import attention, audit, cases, dependencies, figures, health, pages, pauses, rehearsal, week
from agents.forms import PauseHereForm
from agents.models import Action, Pause
from incidents import liveness, problems
from incidents.access import Caller
from incidents.models import Episode, Event, Incident, Role
from incidents.totals import totals
from incidents.wording import duration, left_to_people, standing

OPEN_SHOWN = 50
CLOSED_SHOWN = 8
WAITING_SHOWN = 50
PROBLEMS_SHOWN = 10
# Whoever else sends alerts is connected.
OWN_SOURCES = {rehearsal.SOURCE, health.SOURCE, audit.SOURCE}
LATELY = 50  # alerts that are looked through for one that names its Prometheus


def version(caller: Caller) -> str:
    """Its entity tag, by the last event; the parts of this program have none, and wait for the minute."""
    return pages.tag(caller, Event.objects.aggregate(latest=Max("pk"))["latest"])


def context(caller: Caller) -> dict[str, Any]:
    """Of everything a part that a page can bear, and the number of queries does not grow with the rows."""
    incidents = Incident.objects.select_related("target")
    open_now = list(attention.urgent_first(incidents.unresolved())[: OPEN_SHOWN + 1])
    open_rows = _rows(open_now[:OPEN_SHOWN], caller)
    left = [row for row in open_rows if row["left"]]
    asked = Action.objects.filter(status=Action.Status.AWAITING_APPROVAL)
    waiting = list(
        asked.select_related("target", "incident__target").order_by("expires_at")[: WAITING_SHOWN + 1]
    )
    counted, this_week = totals(), week.of()
    parts = dependencies.all_of_them()
    return {
        "may_decide": caller.may(Role.OPERATOR),
        "pause_form": PauseHereForm(initial={"scope": Pause.EVERYTHING}),
        "totals": counted,
        "connected": not counted.by_source.keys() <= OWN_SOURCES,
        "dead": liveness.dead(),
        "mode": settings.REMEDIATION_MODE,
        "pauses": pauses.in_force(),
        "waiting": waiting[:WAITING_SHOWN],
        "left": left,
        "waiting_count": len(waiting[:WAITING_SHOWN]) + len(left),
        "waiting_more": len(waiting) > WAITING_SHOWN or len(left) == OPEN_SHOWN < len(open_now),
        "earned": [{"pair": pair, "offer": offer} for pair, offer in this_week.offers],
        "problems": problems.open_problems()[:PROBLEMS_SHOWN],
        "open": open_rows,
        "open_more": len(open_now) > OPEN_SHOWN,
        "closed": _rows(
            incidents.filter(closed_at__isnull=False).order_by("-closed_at")[:CLOSED_SHOWN], caller
        ),
        "spans": figures.spans(),
        "budgets": figures.money(),
        "week": this_week,
        "dependencies": [each for each in parts if each.state != "off"],
        "missing": [each for each in parts if each.state == "off"],
        "proof_missing": proof_missing(),
        "version": settings.VERSION,
    }


def _rows(incidents: Iterable[Incident], caller: Caller) -> list[dict[str, Any]]:
    """Each with its age while it is open, and with how long it was open after that; and whether it is left to
    people.
    """
    now, incidents = timezone.now(), list(incidents)
    left = left_to_people(incidents)
    return [
        {
            "incident": each,
            "age": duration((each.closed_at or now) - each.started_at),
            "standing": standing(each, reader=caller.name, left=left),
            "left": each.pk in left,
        }
        for each in incidents
    ]


def proof_missing() -> str | None:
    """Why nothing can be proved: no PROMETHEUS_URL, though alerts name one; None when all is well."""
    if settings.PROMETHEUS_URL is not None:
        return None
    lately = Episode.objects.only("generator_url").order_by("-id")[:LATELY]
    latest = next((each for each in lately if each.generator_url), None)
    origin = cases.prometheus_of(latest) if latest else None
    hint = f"; the last alert came from {origin}" if origin else ""
    return f"Proof is unavailable: PROMETHEUS_URL is not set{hint}."
