"""The one table of what happened: timeline, audit and refusals. It is only ever added to."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import transaction

from incidents import rawinsert
from incidents.models import Event, Incident
from incidents.redaction import clean, clean_tree

logger = logging.getLogger(__name__)
LOGGED_LENGTH = 300


def record(
    incident: Incident | None, kind: Event.Kind, actor: str, text: str, data: dict[str, Any] | None = None
) -> Event:
    """Add to the timeline. Once it is committed, it is a line in the log, too."""
    cleaned = {"text": clean(text), "data": clean_tree(data or {})}
    event = Event(incident=incident, kind=kind, actor=actor, **cleaned)
    rawinsert.insert([event])
    transaction.on_commit(partial(_log, event), robust=True)
    return event


def _log(event: Event) -> None:
    about = {"incident_id": event.incident_id, "request_id": event.incident and event.incident.request_id}
    text = event.text[:LOGGED_LENGTH]
    logger.info("%s by %s: %s", event.kind, event.actor, text, extra={"event": event.kind, **about})
