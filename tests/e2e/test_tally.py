"""Totals on a real PostgreSQL, where several write at the same moment."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from incidents import tally
from incidents.models import Incident, TallyChange
from incidents.recount import recount
from tests.incidents.commotion import at_once, commotion
from tests.totals import differences

from .on_postgres import on_postgres, server

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]


def rows(query: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        found: list[tuple[object, ...]] = cursor.fetchall()
    return found


@pytest.mark.parametrize("seed", range(2))
def test_after_a_commotion_it_says_what_the_tables_say(seed: int) -> None:
    commotion(seed, deliveries=60)
    assert Incident.objects.closed().exists()
    assert differences(rows) == []


def test_a_recount_beside_writers_finds_nothing_wrong() -> None:
    done = threading.Event()
    found = []

    def work() -> None:
        try:
            commotion(7, deliveries=60)
        finally:
            done.set()

    def look() -> None:
        while not done.is_set():
            found.append(recount(repair=True))

    at_once(work, look)
    assert found.count({}) == len(found) > 3
    assert differences(rows) == []


def test_two_folders_and_who_reads_meanwhile_see_every_change_once() -> None:
    series, done = ("alerts", "am", "opened"), threading.Event()
    seen: list[int] = []

    def write() -> None:
        for _ in range(300):
            tally.add([tally.one(*series)])

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
    tally.fold(1)
    assert tally.read() == {series: 900}
    assert TallyChange.objects.count() == 0
    assert seen == sorted(seen), "it went backwards"
