"""Several people, and the crew, at one incident at the same moment, on a real PostgreSQL."""

from __future__ import annotations

from functools import partial

import pytest

from incidents import services
from incidents.models import Event, Incident, MemoryEntry, Notification, Rating, Verdict
from tests.e2e.on_postgres import at_once, on_postgres, server
from tests.incidents.rows import an_incident

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]
PEOPLE = ("alice", "bob", "carol", "dave")


def test_several_calls_at_one_moment_are_one() -> None:
    for _ in range(5):
        incident = an_incident()
        won = at_once([partial(services.escalate, Incident(pk=incident.pk), by=name) for name in PEOPLE])
        assert won.count(True) == 1
        assert incident.events.filter(kind=Event.Kind.ESCALATED).count() == 1
        assert Notification.objects.filter(incident=incident).count() == 1


def test_what_is_rated_while_it_ends_is_remembered() -> None:
    for _ in range(8):
        incident = an_incident(status="proving", root_cause="old snapshots")
        read = [Incident.objects.get(pk=incident.pk) for _ in range(2)]
        at_once(
            [
                partial(services.close, read[0], Verdict.UNKNOWN, actor="proof", note="no way to tell"),
                partial(services.rate, read[1], by="alice", rating=Rating.WRONG),
            ]
        )
        incident.refresh_from_db()
        assert (incident.verdict, incident.rating) == (Verdict.UNKNOWN, Rating.WRONG)
        assert MemoryEntry.objects.get(incident=incident).payload["root_cause"] is None
