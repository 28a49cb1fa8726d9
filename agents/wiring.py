"""Connects the crew to the records' signals and jobs: a signal is for speed, the sweep for certainty."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.db import transaction

from agents import (
    advance,
    attention,
    audit,
    chart,
    crew,
    health,
    outcomes,
    reconcile,
    rehearsal,
    services,
    week,
)
from incidents import broker, jobs, memory, signals
from incidents.memory import bookshelf
from incidents.models import Incident

logger = logging.getLogger(__name__)


def connect() -> None:
    signals.incidents_opened.connect(_opened, dispatch_uid="crew-opened")
    signals.alerts_ended.connect(_ended, dispatch_uid="crew-ended")
    signals.incident_closed.connect(_closed, dispatch_uid="crew-closed")
    signals.episode_contested.connect(_contested, dispatch_uid="crew-contested")
    signals.incident_taken_over.connect(_taken_over, dispatch_uid="crew-taken-over")
    signals.incident_given_back.connect(_given_back, dispatch_uid="crew-given-back")
    signals.facts_wanted.connect(_facts, dispatch_uid="crew-facts")
    signals.left_wanted.connect(_left, dispatch_uid="crew-left")
    jobs.register("health_check", lambda renew: health.run(), every=health.every)
    polled = settings.RECONCILE_SECONDS if settings.ALERTMANAGER_URL else None
    jobs.register(reconcile.JOB, lambda renew: reconcile.run(), every=polled)
    jobs.register(audit.JOB, lambda renew: audit.run(), every=audit.EVERY_SECONDS)
    weekly = week.EVERY_SECONDS if settings.WEEKLY_REPORT else None
    jobs.register(week.JOB, lambda renew: week.run(), every=weekly)
    jobs.register(rehearsal.JOB, lambda renew: rehearsal.end_due(), every=rehearsal.EVERY_SECONDS)
    jobs.register("rebuild_memory", memory.rebuild)
    read = bookshelf.EVERY_SECONDS if settings.RUNBOOKS_DIR else None
    jobs.register(bookshelf.JOB, bookshelf.run, every=read)


def _opened(sender: Any, incident_ids: list[int], **_: Any) -> None:
    transaction.on_commit(lambda: broker.post("agents.tasks.start_runs", *incident_ids), robust=True)


def _contested(sender: Any, episode_id: int, **_: Any) -> None:
    settle = "agents.tasks.settle_contested"
    transaction.on_commit(lambda: broker.send(settle, episode_id), robust=True)


def _ended(sender: Any, incident_id: int, **_: Any) -> None:
    services.wake_proof(incident_id)


def _taken_over(sender: Any, incident_id: int, **_: Any) -> None:
    crew.stand_back(incident_id)


def _given_back(sender: Any, incident_id: int, **_: Any) -> None:
    crew.go_on(incident_id)


def _facts(sender: Any, incident: Incident, **_: Any) -> dict[str, Any]:
    return outcomes.facts_of(incident)


def _left(sender: Any, incident_ids: list[int], **_: Any) -> set[int]:
    return attention.left_to_people(incident_ids)


def _closed(sender: Any, incident_id: int, **_: Any) -> None:
    advance.close_run(incident_id)
    chart.keep_later(incident_id)
