"""Several people want another look at one moment, and the proof ends it in that moment, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from agents import again, services
from agents.models import CrewRun, Step
from agents.postmortem.asking import ask
from incidents import services as incident_services
from incidents.models import Event, Incident, Verdict
from tests.agents.rows import a_run
from tests.e2e.on_postgres import at_once, on_postgres, server
from tests.incidents.rows import an_episode, an_incident

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]
PEOPLE = ("alice", "bob", "carol")


def wants(incident: Incident, by: str) -> CrewRun | None:
    try:
        return again.investigate(Incident.objects.get(pk=incident.pk), by=by)
    except again.CannotInvestigate:
        return None


def watched(verdict: Verdict | None = None) -> Incident:
    incident = an_incident(verdict, status="closed" if verdict else "proving")
    an_episode(incident)
    run = a_run(incident)
    Step.objects.filter(run=run).update(state="done")
    if verdict:
        services.finish_run(incident)
    return incident


@pytest.mark.parametrize("verdict", [None, Verdict.UNKNOWN])
def test_several_wishes_are_one_look(verdict: Verdict | None) -> None:
    for _ in range(4):
        incident = watched(verdict)
        made = at_once([partial(wants, incident, name) for name in PEOPLE])
        assert len([run for run in made if run]) == 1
        assert incident.runs.filter(finished_at=None).count() == 1
        assert incident.runs.count() == 2
        assert incident.events.filter(kind=Event.Kind.INVESTIGATE).count() == 1


def test_an_end_in_that_moment_leaves_nothing_by_half() -> None:
    for _ in range(6):
        incident = watched()
        read = Incident.objects.get(pk=incident.pk)
        end = partial(incident_services.close, read, Verdict.UNKNOWN, actor="proof", note="no way to tell")
        calls: list[Callable[[], object]] = [partial(wants, incident, "alice"), end]
        at_once(calls)
        incident.refresh_from_db()
        looked = incident.events.filter(kind=Event.Kind.INVESTIGATE).exists()
        going_on = incident.runs.filter(finished_at=None).count()
        assert (incident.status == "investigating", going_on) == (looked, int(looked))


def test_several_who_ask_for_the_summary_get_one() -> None:
    for _ in range(4):
        incident = watched()
        at_once([partial(ask, incident, by=name) for name in PEOPLE])
        assert Step.objects.filter(run__incident=incident, agent=Step.Agent.POSTMORTEM).count() == 1
