"""The same trouble ends several times at the same moment, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from incidents import problems, services
from incidents.models import Event, Incident, MemoryEntry, Notification, Problem, Target, Verdict
from tests.e2e.on_postgres import at_once, on_postgres, server
from tests.incidents.rows import a_target, an_incident

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]


def an_end(target: Target) -> Callable[[], None]:
    """An incident's closing, and what its worker does once that is committed."""
    incident = an_incident(target=target, status="proving", severity="warning")

    def end() -> None:
        services.close(incident, Verdict.UNKNOWN, actor="proof", note="no way to tell")
        problems.notice(MemoryEntry.objects.get(incident=incident).pk)

    return end


def test_three_that_end_at_once_make_one_problem_and_one_message() -> None:
    for number in range(5):
        target = a_target(f"web{number}")
        at_once([an_end(target) for _ in range(3)])
        problem = Problem.objects.get(target=target)
        assert problem.incidents.count() == 3
    assert Problem.objects.count() == Notification.objects.count() == 5
    assert Event.objects.filter(kind=Event.Kind.RECURRED).count() == 5


def test_a_persons_end_and_a_return_at_the_same_moment_leave_nothing_by_half() -> None:
    target = a_target("web")
    for _ in range(3):
        an_end(target)()
    for number in range(5):
        problem = Problem.objects.get()
        at_once([lambda: problems.close(Problem.objects.get(), by="alice"), an_end(target)])
        problem.refresh_from_db()
        assert problem.incidents.count() == Incident.objects.count() == 4 + number
        assert problem.status == "open" or problem.closed_by == "alice"
