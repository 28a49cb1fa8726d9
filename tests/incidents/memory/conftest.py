"""An empty memory for each test, incidents to fill it with, and a Qdrant server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from incidents.memory import forget_index
from incidents.models import Incident, MemoryEntry, Target
from incidents.queue import State
from tests.incidents.memory.qdrant_server import FakeQdrant

API_KEY = "only-this-key"


@pytest.fixture(autouse=True)
def _empty_memory(settings: Settings) -> Iterator[None]:
    settings.EMBEDDING_MODEL = "builtin"
    settings.QDRANT_URL = settings.QDRANT_API_KEY = None
    forget_index()
    yield
    forget_index()


@pytest.fixture
def qdrant(settings: Settings) -> Iterator[FakeQdrant]:
    """A server that wants a key, and settings that name it."""
    with FakeQdrant(API_KEY).running() as server:
        settings.QDRANT_URL, settings.QDRANT_API_KEY = server.url, API_KEY
        yield server


MakeIncident = Callable[..., Incident]


@pytest.fixture
def make_incident(db: None) -> MakeIncident:
    """A closed incident; `days` ago, on a target of `kind`."""

    def make(
        alert_name: str, description: str, *, days: float = 1, kind: str = "docker", **fields: Any
    ) -> Incident:
        moment = timezone.now() - timedelta(days=days)
        target, _ = Target.objects.get_or_create(
            key=f"{kind}:host/{alert_name}", defaults={"kind": kind, "host": "host", "name": alert_name}
        )
        values = {
            "status": "closed",
            "verdict": "unknown",
            "severity": "warning",
            "severity_class": "warning",
            "source": "alertmanager",
            "closed_at": moment,
        }
        return Incident.objects.create(
            alert_name=alert_name,
            description=description,
            target=target,
            started_at=moment,
            opened_at=moment,
            **(values | fields),
        )

    return make


def make_due() -> None:
    """Let the pause of every waiting entry be over."""
    MemoryEntry.queue.filter(state=State.WAITING).update(due_at=timezone.now())
