"""The dense side, in this process and on a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from incidents.memory.embed import MAX_PASSAGES, Vectors, unit_rows
from incidents.memory.errors import CollectionMissing, MemoryUnavailable
from incidents.memory.store import Entry, Store
from tests.incidents.memory.qdrant_server import FakeQdrant

KEY = "only-this-key"


def vectors(seed: int, rows: int = 1, size: int = 8) -> Vectors:
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, size)))


def entry(key: int, rows: int = 1, model: str = "m", size: int = 8) -> Entry:
    return Entry(key, key + 100, "DiskFull", model, vectors(key, rows, size))


@pytest.fixture
def server() -> Iterator[FakeQdrant]:
    with FakeQdrant(KEY).running() as fake:
        yield fake


@pytest.fixture(params=["in process", "on a server"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "in process":
        yield Store.here()
    else:
        yield Store.on_server(request.getfixturevalue("server").url, KEY)


def test_an_entry_is_found_by_its_best_passage(store: Store) -> None:
    store.upsert([entry(1, rows=3), entry(2)])
    found = store.search(vectors(1, 3)[2], 10, model="m")
    assert found[1] == pytest.approx(1.0, abs=1e-5)
    assert list(found) == [1, 2]
    assert store.count() == 4


def test_writing_again_replaces_and_drops_what_is_no_longer_there(store: Store) -> None:
    store.upsert([entry(1, rows=5)])
    store.upsert([Entry(1, 101, "DiskFull", "m", vectors(77))])
    assert store.count() == 1
    assert store.search(vectors(77)[0], 10, model="m")[1] == pytest.approx(1.0, abs=1e-5)


def test_a_deleted_entry_is_not_found(store: Store) -> None:
    store.upsert([entry(1), entry(2, rows=2)])
    store.delete(2)
    store.delete(99)
    assert store.search(vectors(2, 2)[0], 10, model="m").keys() == {1}


def test_vectors_of_another_size_start_afresh(store: Store) -> None:
    assert store.upsert([entry(1)]) is True
    assert store.upsert([entry(2)]) is False
    assert store.upsert([entry(3, size=16)]) is True
    assert store.count() == 1


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert store.count() == 0
    assert store.ready() is False
    assert store.upsert([]) is False


def test_a_dropped_store_can_be_filled_again(store: Store) -> None:
    store.upsert([entry(1)])
    store.drop()
    assert store.count() == 0
    assert store.upsert([entry(1)]) is True
    assert store.ready() is True


def test_many_points_are_written_in_batches(store: Store) -> None:
    store.upsert([entry(key, rows=2) for key in range(300)], fresh=True)
    assert store.count() == 600


def test_in_process_one_writer_and_three_readers_see_no_error() -> None:
    store = Store.here()
    store.upsert([entry(key) for key in range(50)])
    stop = time.monotonic() + 2
    errors: list[Exception] = []

    def repeat(work: str, seed: int) -> None:
        number = seed
        while time.monotonic() < stop:
            number += 1
            try:
                if work == "write":
                    store.upsert([entry(number % 400, rows=number % 3 + 1)])
                    store.delete((number * 7) % 400)
                else:
                    store.search(vectors(number)[0], 20, model="m")
                    store.count()
            except Exception as error:  # noqa: BLE001 whatever it is, it is what the test looks for
                errors.append(error)

    threads = [threading.Thread(target=repeat, args=("write", 0))]
    threads += [threading.Thread(target=repeat, args=("read", seed)) for seed in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_on_a_server_points_carry_who_they_are(server: FakeQdrant) -> None:
    Store.on_server(server.url, KEY).upsert([entry(5, rows=2)])
    points = server.points()
    assert sorted(points) == [5 * MAX_PASSAGES, 5 * MAX_PASSAGES + 1]
    assert points[5 * MAX_PASSAGES]["payload"] == {
        "entry_id": 5,
        "incident_id": 105,
        "alert_name": "DiskFull",
        "model": "m",
    }
    assert server.collections["incidents"].indexed == {"model"}


def test_on_a_server_vectors_of_another_model_are_not_compared(server: FakeQdrant) -> None:
    store = Store.on_server(server.url, KEY)
    store.upsert([entry(1, model="old"), entry(2, model="new")])
    assert store.search(vectors(1)[0], 10, model="new").keys() == {2}


@pytest.mark.parametrize("key", [None, "another-key"])
def test_a_wrong_key_is_not_worth_repeating(server: FakeQdrant, key: str | None) -> None:
    store = Store.on_server(server.url, key)
    with pytest.raises(MemoryUnavailable, match="API key") as caught:
        store.upsert([entry(1)])
    assert not caught.value.retryable
    assert not server.collections


def test_a_server_that_is_down_may_come_back(server: FakeQdrant) -> None:
    store = Store.on_server(server.url, KEY)
    store.upsert([entry(1)])
    server.down = True
    with pytest.raises(MemoryUnavailable, match="503") as caught:
        store.search(vectors(1)[0], 10, model="m")
    assert caught.value.retryable
    server.down = False
    assert store.search(vectors(1)[0], 10, model="m").keys() == {1}


def test_a_server_that_nobody_started_may_come_back() -> None:
    with pytest.raises(MemoryUnavailable) as caught:
        Store.on_server("http://127.0.0.1:9", None).ready()
    assert caught.value.retryable


def test_the_probe_does_not_wait_long(server: FakeQdrant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("incidents.memory.store.PROBE_SECONDS", 1)
    server.delay = 3
    started = time.monotonic()
    with pytest.raises(MemoryUnavailable):
        Store.on_server(server.url, KEY).ready()
    assert time.monotonic() - started < 2.5


def test_a_server_that_lost_its_collection_says_so_and_takes_a_new_one(server: FakeQdrant) -> None:
    store = Store.on_server(server.url, KEY)
    store.upsert([entry(1)])
    server.collections.clear()
    with pytest.raises(CollectionMissing):
        store.upsert([entry(2)])
    assert store.upsert([entry(2)]) is True


def test_a_collection_that_another_process_made_meanwhile_is_used(server: FakeQdrant) -> None:
    first, second = Store.on_server(server.url, KEY), Store.on_server(server.url, KEY)
    first.upsert([entry(1)])
    assert second.upsert([entry(2)]) is False
    assert first.count() == 2
