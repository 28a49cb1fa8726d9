"""Work of our own that is stuck is told like any alert; and while nothing is, somebody outside hears from us.

Messages that are stuck cannot tell of themselves, and neither can we when we are dead: then the heartbeat
stays away, and whoever listens to it tells people.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import requests
from django.apps import apps
from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from agents import findings
from agents.models import Step
from agents.tools.http import reason_of, within
from incidents import intake, turns
from incidents.models import Episode, Event, Incident, MemoryEntry
from incidents.queue import LIVE, QueueRow, State

logger = logging.getLogger(__name__)
JOB = "audit"
EVERY_SECONDS = 60.0
SOURCE = "homelab"
ALERT = "HomelabWorkStuck"
HEARTBEAT_DEADLINE = 5.0
# Jobs come a little before their time or after it; the listener is asked for a minute's grace, not for less.
HEARTBEAT_SECONDS = EVERY_SECONDS - 1
SHOWN = 5


@dataclass(frozen=True)
class Stuck:
    """What is stuck of one kind. `advice`: what a person can do."""

    kind: str
    summary: str
    advice: str


def run() -> dict[str, Any]:
    """Look, tell or take back what was told, and give the heartbeat when all is well."""
    stuck = look()
    mine = Episode.objects.firing().filter(source=SOURCE, condition__has_key="audit")
    over = [findings.over(row) for row in mine if (row.condition or {})["audit"] not in stuck]
    found = [
        findings.firing(
            {"alertname": ALERT, "severity": "critical", "kind": each.kind},
            {"summary": each.summary, "description": f"{each.summary}. {each.advice}"},
            {"audit": each.kind},
        )
        for each in stuck.values()
    ]
    incidents = intake.apply_alerts(source=SOURCE, alerts=[*found, *over])
    summaries = {kind: each.summary for kind, each in stuck.items()}
    return {"stuck": summaries, "incidents": incidents, "heartbeat": None if stuck else _heartbeat()}


def look() -> dict[str, Stuck]:
    """What is stuck now, by kind."""
    now = timezone.now()
    late = now - timedelta(seconds=settings.AUDIT_STUCK_SECONDS)
    models = [model for model in apps.get_models() if issubclass(model, QueueRow)]
    found = [_rows(model, late) for model in models] + [_incidents(late)]
    return {each.kind: each for each in found if each is not None}


def _rows(model: type[QueueRow], late: datetime) -> Stuck | None:
    """Rows that died, or are overdue: nobody takes them, or whoever took them is gone."""
    waiting = Q(state=State.WAITING, due_at__lt=late) | Q(state=State.RUNNING, lease_until__lt=late)
    rows: QuerySet[Any] = _steps() if model is Step else model.queue.all()
    dead, overdue = rows.filter(state=State.DEAD).count(), rows.filter(waiting).count()
    if overdue and model is MemoryEntry and _is_read_in(late):
        overdue = 0
    if not dead and not overdue:
        return None
    name, plural = model._meta.verbose_name, model._meta.verbose_name_plural
    said = [f"{dead} dead"] if dead else []
    said += [f"{overdue} overdue for more than {settings.AUDIT_STUCK_SECONDS} s"] if overdue else []
    advice = "Look at the errors in the admin; dead rows are retried or given up there."
    if overdue:
        advice += " Overdue rows: is a worker running, and is it keeping up?"
    return Stuck(str(name), f"{plural}: {' and '.join(said)}", advice)


def _is_read_in(late: datetime) -> bool:
    """Whether memory entries are embedded now: thousands that were taken over, or read again with another
    model, wait their turn for longer and are not stuck."""
    return MemoryEntry.objects.filter(synced_at__gte=late).exists()


def _steps() -> QuerySet[Any]:
    """Those that somebody waits for: a closed incident needs none any more.

    Without the incidents that tell of stuck work: a stuck step of theirs would keep them open for ever.
    """
    needed = Step.objects.exclude(run__incident__status=Incident.Status.CLOSED)
    return needed.exclude(run__incident__source=SOURCE)


def _incidents(late: datetime) -> Stuck | None:
    """Open incidents that nobody works on or watches, and to which nothing has happened for a while."""
    alive = Step.objects.filter(run__incident=OuterRef("pk"), state__in=LIVE)
    recent = Event.objects.filter(incident=OuterRef("pk"), at__gte=late)
    rows = Incident.objects.unresolved().filter(~Exists(alive), ~Exists(recent), opened_at__lt=late)
    keys = list(rows.exclude(source=SOURCE).order_by("pk").values_list("pk", flat=True))
    if not keys:
        return None
    shown = ", ".join(f"#{pk}" for pk in keys[:SHOWN]) + (", …" if len(keys) > SHOWN else "")
    advice = "Look at their steps in the admin: retry the last one, or give the incident its verdict."
    return Stuck("incident", f"incidents without a next step: {len(keys)} ({shown})", advice)


def _heartbeat() -> str | None:
    """Tell the listener that all is well, once a minute at most; what came of it."""
    url = settings.HEARTBEAT_URL
    if url is None or not turns.take("heartbeat", seconds=HEARTBEAT_SECONDS):
        return None
    try:
        answer = within(HEARTBEAT_DEADLINE, lambda: requests.get(url, timeout=HEARTBEAT_DEADLINE))
    except TimeoutError:
        said = f"no answer in {HEARTBEAT_DEADLINE:g} s"
    except requests.RequestException as error:
        said = reason_of(error)
    else:
        if answer.status_code < HTTPStatus.BAD_REQUEST:
            return "ok"
        said = f"answered {answer.status_code}"
    logger.warning("HEARTBEAT_URL: %s", said)
    return said
