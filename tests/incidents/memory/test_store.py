"""A shelf in this process and on a server: what one finds, the other finds, with the same scores."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from incidents.memory.embed import MiniLM, Vectors, unit_rows
from incidents.memory.errors import CollectionMissing, MemoryUnavailable, ModelReplaced
from incidents.memory.fuse import Candidate, fuse
from incidents.memory.lexical import word_id
from incidents.memory.store import Asked, Document, Store
from incidents.memory.store_here import HereStore
from incidents.memory.store_server import WORDS, ServerStore
from incidents.memory.words import words
from tests.incidents.memory.qdrant_server import Collection, FakeQdrant, Refusal

KEY = "only-this-key"
ALIAS = "homelab_past"


def vectors(seed: int, rows: int = 1, size: int = 8) -> Vectors:
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, size)))


def entry(
    key: int, text: str = "the disk is full", rows: int = 1, model: str = "m", size: int = 8
) -> Document:
    return Document(key, key + 100, "DiskFull", text, "", vectors(key, rows, size), model)


def wordy(key: int, text: str) -> Document:
    """An entry that has no vectors."""
    return Document(key, key + 100, "DiskFull", text, "", None, "")


def asked(vector: Vectors | None, text: str = "", also: tuple[int, ...] = (), model: str = "m") -> Asked:
    return Asked(words(text), None if vector is None else vector[0], model, also)


def near(store: Store, vector: Vectors, model: str = "m") -> dict[int, float]:
    return dict(store.search(asked(vector, model=model)).dense or {})


def on_server(server: FakeQdrant, key: str | None = KEY) -> ServerStore:
    return ServerStore(server.url, key, "past")


@pytest.fixture
def server() -> Iterator[FakeQdrant]:
    with FakeQdrant(KEY).running() as fake:
        yield fake


@pytest.fixture(params=["in process", "on a server"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "in process":
        yield HereStore()
    else:
        yield on_server(request.getfixturevalue("server"))


def test_an_entry_is_found_by_its_best_passage(store: Store) -> None:
    store.write([entry(1, rows=3), entry(2)])
    found = near(store, vectors(1, 3)[2:])
    assert found[1] == pytest.approx(1.0, abs=1e-5)
    assert max(found, key=lambda key: found[key]) == 1
    assert store.count() == 2
    assert store.model() == "m"


def test_an_entry_is_found_by_its_words(store: Store) -> None:
    store.write([entry(1, "the disk of nas is full"), entry(2, "the certificate expires")])
    hits = store.search(asked(None, "certificate")).hits
    assert hits.scores.keys() == {2}
    assert 0 < hits.scores[2] <= 2 * hits.ideal
    assert store.search(asked(None, "certificate")).dense is None


def test_both_sides_judge_what_either_found(store: Store) -> None:
    store.write([entry(1, "the disk of nas is full"), entry(2, "the certificate expires")])
    scores = store.search(asked(vectors(1), "certificate"))
    assert scores.dense is not None
    assert scores.dense.keys() == {1, 2}
    assert scores.dense[2] == pytest.approx(float(vectors(1)[0] @ vectors(2)[0]), abs=1e-5)


def test_what_was_asked_for_by_name_is_judged_whoever_is_better(store: Store) -> None:
    store.write([entry(key, "twins of the same text") for key in range(300)] + [wordy(999, "quite alone")])
    worst = min(range(300), key=lambda key: float(vectors(7)[0] @ vectors(key)[0]))
    scores = store.search(asked(vectors(7), "twins", also=(worst, 999, 12345)))
    assert scores.dense is not None
    assert worst in scores.dense
    assert 999 not in scores.dense
    assert scores.hits.scores.get(999, 0.0) == 0.0


def test_writing_again_replaces_and_drops_what_is_no_longer_there(store: Store) -> None:
    store.write([entry(1, "the disk is full", rows=5)])
    store.write([Document(1, 101, "DiskFull", "the certificate expires", "", vectors(77), "m")])
    assert store.count() == 1
    assert near(store, vectors(77))[1] == pytest.approx(1.0, abs=1e-5)
    assert near(store, vectors(1, 5)[4:])[1] < 0.99
    assert not store.search(asked(None, "disk")).hits.scores.get(1)
    store.write([wordy(1, "the certificate expires")])
    assert near(store, vectors(77)) == {}


def test_a_deleted_entry_is_not_found(store: Store) -> None:
    store.write([entry(1), entry(2, rows=2)])
    store.delete(2)
    store.delete(99)
    assert near(store, vectors(2, 2)[:1]).keys() == {1}
    assert store.search(asked(None, "disk")).hits.scores.keys() == {1}


def test_vectors_of_another_model_are_refused_and_never_compared(store: Store) -> None:
    store.write([entry(1)])
    with pytest.raises(ModelReplaced):
        store.write([entry(2, model="other", size=16)])
    with pytest.raises(ModelReplaced):
        store.search(asked(vectors(1), model="other"))
    assert store.outdated("other")
    assert not store.outdated("m")
    assert not store.outdated(None)


def test_a_store_beside_takes_another_model_and_size(store: Store) -> None:
    store.write([entry(1)])
    beside, name, is_new = store.beside(None, "other", 16)
    assert is_new
    beside.write([entry(2, model="other", size=16)])
    assert near(store, vectors(1)).keys() == {1}
    store.switch(name)
    if not store.in_process:
        assert store.model() == "other"
        assert near(store, vectors(2, size=16), "other").keys() == {2}


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert store.count() == 0
    assert store.model() is None
    assert not store.outdated("m")


def test_many_are_written(store: Store) -> None:
    store.write([entry(key, rows=2) for key in range(300)])
    assert store.count() == 300


def test_in_process_one_writer_and_three_readers_see_no_error() -> None:
    store = HereStore()
    store.write([entry(key) for key in range(50)])
    stop = time.monotonic() + 2
    errors: list[Exception] = []

    def repeat(work: str, seed: int) -> None:
        number = seed
        while time.monotonic() < stop:
            number += 1
            try:
                if work == "write":
                    store.write([entry(number % 400, rows=number % 3 + 1)])
                    store.delete((number * 7) % 400)
                else:
                    store.search(asked(vectors(number), "disk", also=(number % 400,)))
            except Exception as error:  # noqa: BLE001 whatever it is, it is what the test looks for
                errors.append(error)

    threads = [threading.Thread(target=repeat, args=("write", 0))]
    threads += [threading.Thread(target=repeat, args=("read", seed)) for seed in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


# Both homes rank alike

ALERTS = ("DiskFull", "CertificateExpires", "ContainerCrashLooping", "HostTooHot", "DnsDown", "BackupFailed")
TARGETS = ("nas", "proxy", "jellyfin", "immich", "router", "docker2", "postgres")
STORIES = (
    "node_filesystem_avail_bytes is below 3 percent, old snapshots were removed",
    "the TLS certificate of the reverse proxy expires in three days; acme renewal had failed",
    "exited with code 137, killed because it used too much memory",
    "temperature above 90 degrees; the fan was full of dust",
    "connection refused at the resolver on port 53 after an upgrade",
    "restic could not lock the repository, a stale lock of yesterday's run",
)


def texts(number: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [
        f"{chance.choice(ALERTS)} on {chance.choice(TARGETS)}{chance.randrange(9)}: {chance.choice(STORIES)}"
        for _ in range(number)
    ]


def test_both_homes_rank_200_texts_the_same_for_50_queries(server: FakeQdrant) -> None:
    model = MiniLM()
    here, there = HereStore(), on_server(server)
    documents = [
        Document(key, key, "", text, "", model.embed([text]), model.name)
        for key, text in enumerate(texts(200, 1))
    ]
    for store in (here, there):
        store.write(documents)
    for query in texts(50, 2):
        given = Asked(words(query), model.embed([query])[0], model.name, ())
        one, other = (_ranked(store, given) for store in (here, there))
        best = {each.key: each for each in other[:20]}
        places = []
        for each in one[:10]:
            twin = best[each.key]
            assert each.confidence == pytest.approx(twin.confidence, abs=1e-4), query
            assert each.rank == pytest.approx(twin.rank, abs=0.02), query
            places.append(round(twin.rank, 3))
        assert places == sorted(places, reverse=True), query


def _ranked(store: Store, given: Asked) -> list[Candidate]:
    scores = store.search(given)
    return fuse(scores.dense, scores.hits)


# The server


def test_a_point_is_an_entry_with_its_passages_and_words(server: FakeQdrant) -> None:
    on_server(server).write([Document(5, 105, "DiskFull", "disk full", "", vectors(5, 2), "openai:a/b")])
    point = server.points()[5]
    assert point["payload"] == {"incident_id": 105, "alert_name": "DiskFull"}
    assert len(point["vector"]["openai%3Aa%2Fb"]) == 2  # Qdrant takes no colon and no slash in a name
    assert {word_id("disk"), word_id("full")} <= set(point["vector"][WORDS]["indices"])
    assert on_server(server).model() == "openai:a/b"


def test_recall_is_one_round_trip(server: FakeQdrant) -> None:
    store = on_server(server)
    store.write([entry(1), entry(2)])
    store.search(asked(vectors(1), "disk"))
    server.requests.clear()
    store.search(asked(vectors(2), "full", also=(1,)))
    assert server.requests == [("POST", f"/collections/{ALIAS}/points/query/batch")]


@pytest.mark.parametrize("key", [None, "another-key"])
def test_a_wrong_key_is_not_worth_repeating(server: FakeQdrant, key: str | None) -> None:
    with pytest.raises(MemoryUnavailable, match="API key") as caught:
        on_server(server, key).write([entry(1)])
    assert not caught.value.retryable
    assert not server.collections


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_worth_repeating(server: FakeQdrant, status: int) -> None:
    store = on_server(server)
    store.write([entry(1)])
    server.next_refusals.append(Refusal(status, "not now", {"Retry-After": "1"}))
    with pytest.raises(MemoryUnavailable) as caught:
        near(store, vectors(1))
    assert caught.value.retryable
    assert near(store, vectors(1)).keys() == {1}


def test_a_server_that_nobody_started_may_come_back() -> None:
    with pytest.raises(MemoryUnavailable) as caught:
        ServerStore("http://127.0.0.1:9", None, "past").ready()
    assert caught.value.retryable


def test_the_probe_does_not_wait_long(server: FakeQdrant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("incidents.memory.store_server.READ_SECONDS", 1)
    server.delay = 3
    started = time.monotonic()
    with pytest.raises(MemoryUnavailable):
        on_server(server).ready()
    assert time.monotonic() - started < 2.5


def test_a_server_that_did_not_answer_in_time_is_not_waited_for_at_each_call(
    server: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("incidents.memory.store_server.READ_SECONDS", 1)
    monkeypatch.setattr("incidents.memory.store_server.SLOW_SECONDS", 0.5)
    store = on_server(server)
    store.write([entry(1)])
    server.delay = 2
    with pytest.raises(MemoryUnavailable):
        store.count()
    server.delay = 0
    with pytest.raises(MemoryUnavailable, match="did not answer a moment ago"):
        store.search(asked(vectors(1)))
    assert store.ready()  # the probe asks, and what it hears counts
    assert near(store, vectors(1)).keys() == {1}


def test_a_server_that_lost_its_collection_says_so_and_takes_a_new_one(server: FakeQdrant) -> None:
    store = on_server(server)
    assert store.write([entry(1)]) is True
    server.collections.clear()
    server.aliases.clear()
    with pytest.raises(CollectionMissing):
        store.write([entry(2)])
    assert store.write([entry(2)]) is True


def test_a_collection_that_another_process_made_meanwhile_is_used(server: FakeQdrant) -> None:
    first, second = on_server(server), on_server(server)
    assert (second.model(), first.write([entry(1)]), second.write([entry(2)])) == (None, True, False)
    assert first.count() == 2


def test_a_collection_of_earlier_versions_is_left_alone(
    server: FakeQdrant, caplog: pytest.LogCaptureFixture
) -> None:
    server.collections["incidents"] = Collection(384, "Dot")
    store = on_server(server)
    store.write([entry(1)])
    _, name, _ = store.beside(None, "m", 8)
    store.switch(name)
    assert server.collections.keys() == {"incidents", name}
    assert "earlier versions" in caplog.text


def test_a_generation_that_is_half_built_goes_on_and_others_are_removed(server: FakeQdrant) -> None:
    store = on_server(server)
    store.write([entry(1)])
    _, name, _ = store.beside(None, "other", 16)
    again = store.beside(name, "other", 16)
    assert again[1:] == (name, False)
    _, another, is_new = store.beside(name, "third", 4)
    assert is_new
    assert server.collections.keys() == {server.aliases[ALIAS], another}
    store.switch(another)
    assert server.aliases == {ALIAS: another}
    assert server.collections.keys() == {another}


def test_words_that_were_cut_otherwise_are_written_anew(server: FakeQdrant) -> None:
    server.collections["homelab_past_1"] = Collection(
        named={"m": {"size": 8, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}},
        sparse={"words-0": {"modifier": "idf"}},
    )
    server.aliases[ALIAS] = "homelab_past_1"
    store = on_server(server)
    assert store.outdated("m")
    store.write([entry(1)])  # until then they go where the others are
    another = on_server(server)
    _, name, _ = another.beside(None, "m", 8)
    another.switch(name)
    with pytest.raises(ModelReplaced):  # who has not heard of it asks again
        store.search(asked(vectors(1), "disk"))
    assert not store.outdated("m")
    store.write([entry(1)])
    assert store.search(asked(vectors(1), "disk")).hits.scores.keys() == {1}
