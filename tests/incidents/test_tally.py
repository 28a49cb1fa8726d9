"""Totals are exact, whoever writes at once and whoever folds meanwhile, and never less than they were."""

from __future__ import annotations

import random
import threading
from collections import Counter

import pytest
from django.db import OperationalError, connection, transaction

from incidents import intake, services, tally
from incidents.alertmanager import parse_webhook
from incidents.models import Delivery, Incident, TallyChange, Verdict
from incidents.totals import totals
from tests.incidents.commotion import at_once, commotion, delivery
from tests.incidents.rows import an_incident
from tests.totals import differences

one = tally.one


def rows(query: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        found: list[tuple[object, ...]] = cursor.fetchall()
    return found


@pytest.mark.django_db
def test_what_is_rolled_back_was_not_counted() -> None:
    tally.add([one("deliveries", "am", "accepted")])
    with transaction.atomic():
        tally.add([one("deliveries", "am", "accepted", times=7)])
        transaction.set_rollback(True)
    assert tally.read() == {("deliveries", "am", "accepted"): 1}


@pytest.mark.django_db
def test_one_row_for_a_transaction_and_none_for_nothing() -> None:
    tally.add(
        [one("alerts", "am", "opened"), one("alerts", "am", "opened"), one("deliveries", "am", "partly")]
    )
    tally.add([one("alerts", "am", "opened", times=-1), one("alerts", "am", "opened")])
    tally.add([])
    assert TallyChange.objects.count() == 1
    assert tally.read() == {("alerts", "am", "opened"): 2, ("deliveries", "am", "partly"): 1}


@pytest.mark.django_db
def test_folding_changes_no_total() -> None:
    dice, wanted = random.Random(1), Counter[tuple[str, ...]]()
    for _ in range(300):
        changes = [one("alerts", dice.choice("abc"), dice.choice(("opened", "resolved"))) for _ in range(3)]
        wanted.update(series for series, _ in changes)
        tally.add(changes)
    assert tally.fold() == 300
    assert TallyChange.objects.count() == 0
    assert tally.read() == wanted
    tally.add([one("alerts", "a", "opened")])
    assert tally.fold() == 0, "a few are as quickly read"
    assert tally.read()["alerts", "a", "opened"] == wanted["alerts", "a", "opened"] + 1


@pytest.mark.django_db
def test_an_observation_is_in_the_first_bucket_that_holds_it() -> None:
    for took in (0.1, 0.11, 10, 10.5):
        tally.add(tally.seconds("tool_duration", "web", took=took))
    found = {series[2]: amount for series, amount in tally.read().items()}
    assert found == {"0.1": 1, "1": 1, "10": 1, "+Inf": 1, "sum": 20_710_000}


@pytest.mark.django_db
def test_no_span_of_time_is_too_long_to_be_added_up() -> None:
    for _ in range(200):
        tally.add(tally.seconds("resolution", "critical", took=2000 * 365 * 86400.0))
    assert tally.fold() == 200
    assert tally.read()["resolution", "critical", "+Inf"] == 200


@pytest.mark.django_db
def test_where_no_worker_sweeps_who_counts_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "FOLD_EACH", 5)
    monkeypatch.setattr(intake, "FOLD_LEAST", 5)
    for number in range(20):
        body = delivery(random.Random(number), number)
        intake.receive(source="am", body=body, webhook=parse_webhook(body))
    assert TallyChange.objects.count() < 15
    assert tally.read()["deliveries", "am", "accepted"] == 20


@pytest.mark.django_db
def test_a_delivery_is_accepted_though_the_totals_cannot_be_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(least: int) -> int:
        raise OperationalError("database is locked")

    monkeypatch.setattr(intake, "FOLD_EACH", 1)
    monkeypatch.setattr(tally, "fold", locked)
    body = delivery(random.Random(1), 1)
    assert intake.receive(source="am", body=body, webhook=parse_webhook(body)).accepted
    assert Delivery.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_writers_and_folders_at_once_lose_and_double_nothing() -> None:
    seen: list[int] = []
    done = threading.Event()
    series = ("alerts", "am", "opened")

    def write() -> None:
        for _ in range(60):
            tally.add([one(*series), one("deliveries", "am", "accepted")])

    def write_all() -> None:
        at_once(write, write, write)
        done.set()

    def fold() -> None:
        while not done.is_set():
            tally.fold(1)

    def look() -> None:
        while not done.is_set():
            seen.append(tally.read()[series])

    at_once(write_all, fold, fold, look)
    assert tally.read() == {series: 180, ("deliveries", "am", "accepted"): 180}
    assert seen == sorted(seen), "it went backwards"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(2))
def test_after_a_commotion_it_says_what_the_tables_say(seed: int) -> None:
    commotion(seed)
    assert Incident.objects.closed().exists()
    assert differences(rows) == []


@pytest.mark.django_db
def test_each_way_of_an_incident_is_counted_as_the_table_has_it() -> None:
    proved, human, wrong, back = (an_incident(source=name) for name in ("a", "b", "a", "b"))
    services.close(proved, Verdict.VERIFIED, actor="crew", note="clear")
    services.close(wrong, Verdict.NOT_FIXED, actor="crew", note="still true")
    services.annotate(wrong, by="ann", verdict=Verdict.FALSE_ALARM)
    services.annotate(human, by="ann", verdict=Verdict.RESOLVED_BY_HUMAN)
    services.close(back, Verdict.CLEARED_BEFORE_ACTION, actor="crew", note="clear")
    services.reopen(back, actor="am", text="fired again")
    assert differences(rows) == []
    found = totals()
    assert (found.incidents, found.by_verdict["in_progress"], found.by_source) == (4, 1, {"a": 2, "b": 2})
    assert found.avg_resolution_seconds == pytest.approx(proved.resolution_seconds, abs=1e-6)
    assert (found.success_rate, found.fixed_by_crew_rate) == (0.5, 0.5)


@pytest.mark.django_db
def test_a_severity_that_rose_since_it_was_read_is_counted_as_it_is() -> None:
    incident = an_incident(severity="warning")
    stale = Incident.objects.get(pk=incident.pk)
    Incident.objects.filter(pk=incident.pk).update(severity_class="critical")
    tally.add([one("incidents", "warning", "in_progress", incident.source, times=-1)])
    tally.add([one("incidents", "critical", "in_progress", incident.source)])
    services.close(stale, Verdict.VERIFIED, actor="crew", note="clear")
    assert differences(rows) == []
    assert totals().by_severity == {"critical": 1, "warning": 0, "info": 0, "other": 0}


@pytest.mark.django_db
def test_the_comparison_sees_what_was_not_counted() -> None:
    an_incident()
    assert differences(rows) == []
    Incident.objects.update(verdict=Verdict.VERIFIED, status="closed", closed_at="2026-11-23T00:00:00Z")
    assert len(differences(rows)) == 2
