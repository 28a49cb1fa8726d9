"""What every delivery and every step asks and writes by hand, of a real PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import (
    DataError,
    IntegrityError,
    NotSupportedError,
    close_old_connections,
    connection,
    transaction,
)
from django.utils import timezone

from agents import services
from agents.models import Step
from incidents import notifications, rawsql
from incidents.batch import LATEST
from incidents.models import Episode, Event, Incident, Notification, TallyChange
from incidents.rawinsert import insert, insert_all
from incidents.rawsql import fetch
from tests.incidents.rows import a_target, an_episode, an_incident

from .on_postgres import at_once, on_postgres, server

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]


def test_more_alerts_than_a_statement_takes_parameters() -> None:
    episode = an_episode(an_incident())
    fingerprints = [f"{number:040x}" for number in range(70_000)]
    found = fetch(Episode, LATEST, episode.source, [*fingerprints, episode.fingerprint], lock=True)
    assert found == [episode]


def a_step(incident: Incident) -> Step:
    run = services.start_run(incident.pk)
    assert run is not None
    return run.steps.get()


def test_a_claim_is_one_statement_that_keeps_when_it_was_first_begun() -> None:
    step = a_step(an_incident(status="new"))
    claimed: Step = Step.queue.claim(step.pk)
    assert (claimed.state, claimed.fence, claimed.lost_leases) == ("running", 1, 0)
    assert claimed.started_at is not None
    assert Step.queue.claim(step.pk) is None
    Step.objects.filter(pk=step.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    again: Step = Step.queue.claim(step.pk)
    assert (again.fence, again.lost_leases, again.started_at) == (2, 1, claimed.started_at)
    assert not claimed.finish(output={"of": "who lost it"})
    assert again.finish(output={"of": "who has it"})
    assert Step.objects.get(pk=step.pk).output == {"of": "who has it"}


@pytest.mark.parametrize("known", [True, False])
def test_what_a_step_belongs_to_is_loaded_at_once(
    known: bool, django_assert_num_queries: pytest.FixtureRequest
) -> None:
    incident = an_incident(status="new", target=a_target("web") if known else None)
    step = a_step(incident)
    loaded: Step = Step.queue.claim(step.pk)
    rawsql.follow(loaded, "run", "incident", "target")
    with django_assert_num_queries(0):
        assert loaded.run.incident.alert_name == incident.alert_name
        assert (loaded.run.incident.target is not None) == known


def test_the_incident_and_its_run_are_locked_with_one_statement() -> None:
    step = a_step(an_incident(status="new"))
    with transaction.atomic():
        assert services.lock_both(step.run) == ("investigating", False)


def test_a_message_replaces_what_is_unsent_and_leaves_what_was_sent() -> None:
    incident = an_incident()
    for words in ("first", "second"):
        notifications.tell(incident, Notification.Kind.UPDATE, title="t", body=words, transition="x")
    row = Notification.objects.get()
    assert row.body == "second"
    Notification.objects.update(state="done")
    notifications.tell(incident, Notification.Kind.UPDATE, title="t", body="third", transition="x")
    assert Notification.objects.get().body == "second"


def test_a_plan_that_a_change_of_the_schema_spoilt_costs_one_error() -> None:
    """A release may change a column while workers of the last one still run."""
    incident = an_incident()
    for _ in range(8):  # often enough to be planned for good
        fetch(Incident, "id {}", [incident.pk])

    def migrate() -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE incidents_incident ALTER COLUMN alert_name TYPE varchar(300)")

    at_once([migrate])
    with pytest.raises(NotSupportedError, match="cached plan"):
        fetch(Incident, "id {}", [incident.pk])
    close_old_connections()  # as after each request and task
    assert fetch(Incident, "id {}", [incident.pk]) == [incident]


ODD = "a \\ \"b\" 'c' {d} %s $1 \u2028 \U0001f525"


def a_copy(episode: Episode, **fields: str) -> Episode:
    """Not saved."""
    values = {each.name: getattr(episode, each.name) for each in Episode._meta.concrete_fields}
    return Episode(**{**values, "id": None, **fields})


def test_what_was_inserted_reads_as_it_was_written() -> None:
    data: dict[str, object] = {ODD: [ODD, None, 0.1, 2**60, {}]}
    events = [Event(kind=Event.Kind.STATUS, actor=ODD, text=str(n), data=data) for n in range(3)]
    insert(events)
    assert [event.pk for event in events] == sorted({event.pk for event in events})
    read = Event.objects.in_bulk()
    for event in events:
        found = read[event.pk]
        assert (found.actor, found.text, found.data) == (ODD, event.text, data)
        assert (found.at, found.incident_id) == (event.at, None)


def test_unknown_is_null_in_a_column_of_json() -> None:
    incident = an_incident()
    insert([a_copy(an_episode(incident), fingerprint=name) for name in "ab"])
    assert Episode.objects.filter(condition__isnull=True, labels__instance="nas:9100").count() == 4


def test_what_is_too_long_is_refused_and_not_cut() -> None:
    long = Event(kind=Event.Kind.STATUS, actor="x" * 151, text="")
    with pytest.raises(DataError), transaction.atomic():
        insert([long])


def test_several_kinds_are_inserted_or_none() -> None:
    incident = an_incident()
    event = Event(incident=incident, kind=Event.Kind.STATUS, actor="a", text="")
    insert_all([event], [], [TallyChange(amounts="[]")])
    assert (incident.events.count(), TallyChange.objects.filter(amounts="[]").count()) == (1, 1)
    lost = Event(incident_id=incident.pk, kind=Event.Kind.STATUS, actor="a", text="")
    again = a_copy(an_episode(incident))
    with pytest.raises(IntegrityError), transaction.atomic():
        insert_all([lost], [again])
    assert incident.events.count() == 1
