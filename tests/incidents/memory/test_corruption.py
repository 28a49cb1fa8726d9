"""A Qdrant whose answers are damaged on their way: no wrong memory, and what waits comes through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from incidents import memory
from incidents.memory import store_server
from incidents.memory.errors import MemoryUnavailable
from incidents.memory.index import get_index
from incidents.memory.store_server import ServerStore
from incidents.models import MemoryEntry
from incidents.queue import State
from tests.e2e.proxy import ANY_BIT, HIGH_BIT, Proxy
from tests.incidents.memory.conftest import MakeIncident, make_due
from tests.incidents.memory.qdrant_server import FakeQdrant
from tests.incidents.memory.test_store import asked, entry, vectors

TRIES = 6
HEADERS = 150  # bytes


@pytest.fixture
def between(qdrant: FakeQdrant, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands between us and a Qdrant. A damaged length is waited for, so patience is short."""
    monkeypatch.setattr(store_server, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(store_server, "READ_SECONDS", 0.2)
    with Proxy(qdrant.url) as proxy:
        settings.QDRANT_URL = proxy.url
        yield proxy


def fresh(proxy: Proxy, key: str | None) -> ServerStore:
    """A store with connections of its own, so that each damage has its turn."""
    return ServerStore(proxy.url, key, "past")


@pytest.mark.parametrize("bits", [HIGH_BIT, ANY_BIT], ids=["high bit", "any bit"])
def test_whatever_qdrant_answers_only_our_own_error_comes_of_it(
    between: Proxy, qdrant: FakeQdrant, bits: int
) -> None:
    fresh(between, qdrant.api_key).write([entry(1), entry(2)])
    for _ in between.corruptions(bits, TRIES):
        store = fresh(between, qdrant.api_key)
        asks = (
            store.ready,
            store.count,
            lambda store=store: store.write([entry(2)]),
            lambda store=store: store.search(asked(vectors(1), "disk")),
        )
        for ask in asks:
            with suppress(MemoryUnavailable):
                ask()
        store.close()
    assert fresh(between, qdrant.api_key).count() == 2


def test_text_that_is_damaged_finds_nothing(between: Proxy, qdrant: FakeQdrant) -> None:
    fresh(between, qdrant.api_key).write([entry(1), entry(2)])
    right = fresh(between, qdrant.api_key).search(asked(vectors(1), "disk"))
    for _ in between.corruptions(HIGH_BIT, TRIES, least=HEADERS):
        store = fresh(between, qdrant.api_key)
        with suppress(MemoryUnavailable):
            assert store.search(asked(vectors(1), "disk")) == right
        store.close()


def test_an_entry_waits_and_is_written_afterwards(
    between: Proxy, make_incident: MakeIncident, qdrant: FakeQdrant
) -> None:
    row = memory.remember(make_incident("DiskFull", "the disk of nas is full"))
    for _ in between.corruptions(HIGH_BIT, 4, least=HEADERS):
        get_index().store = fresh(between, qdrant.api_key)
        make_due()
        memory.sync(row.pk)
        row = MemoryEntry.objects.get(pk=row.pk)
        assert row.state in (State.WAITING, State.DONE)
    make_due()
    memory.sync(row.pk)
    assert MemoryEntry.objects.get(pk=row.pk).state == State.DONE
    [found] = memory.recall("the disk is full")
    assert found.entry_id == row.pk


def test_recall_tells_nothing_wrong(between: Proxy, make_incident: MakeIncident, qdrant: FakeQdrant) -> None:
    row = memory.remember(make_incident("DiskFull", "the disk of nas is full"))
    assert memory.sync(row.pk)
    for _ in between.corruptions(HIGH_BIT, TRIES, least=HEADERS):
        get_index().store = fresh(between, qdrant.api_key)
        found = memory.recall("the disk of nas is full", alert_name="DiskFull")
        assert [each.entry_id for each in found] == [row.pk]
    assert [each.entry_id for each in memory.recall("the disk of nas is full")] == [row.pk]
