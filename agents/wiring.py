"""Connects the crew to the records' signals and jobs: a signal is for speed, the sweep for certainty."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import transaction

from agents import advance, health, services
from agents.tasks import settle_contested, start_run
from incidents import jobs, memory, signals

logger = logging.getLogger(__name__)


def connect() -> None:
    signals.incident_opened.connect(_opened, dispatch_uid="crew-opened")
    signals.alerts_ended.connect(_ended, dispatch_uid="crew-ended")
    signals.incident_closed.connect(_closed, dispatch_uid="crew-closed")
    signals.episode_contested.connect(_contested, dispatch_uid="crew-contested")
    jobs.register("health_check", lambda renew: health.run(), every=settings.HEALTH_CHECK_SECONDS)
    jobs.register("rebuild_memory", _rebuild_memory)


def _rebuild_memory(renew: Callable[[], None]) -> dict[str, Any]:
    return {"embedded": memory.rebuild(progress=lambda done, total: renew())}


def _opened(sender: Any, incident_id: int, **_: Any) -> None:
    transaction.on_commit(lambda: start_run.apply_async((incident_id,), expires=30), robust=True)


def _contested(sender: Any, episode_id: int, **_: Any) -> None:
    transaction.on_commit(lambda: settle_contested.apply_async((episode_id,), expires=30), robust=True)


def _ended(sender: Any, incident_id: int, **_: Any) -> None:
    services.wake_proof(incident_id)


def _closed(sender: Any, incident_id: int, **_: Any) -> None:
    advance.close_run(incident_id)
