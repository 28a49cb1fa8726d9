"""From the database into a process: at its start, while it runs, and anew."""

from __future__ import annotations

import time

import pytest
from pytest_django.fixtures import Settings

from incidents.memory import (
    MemoryUnavailable,
    fill,
    forget_index,
    get_index,
    load,
    rebuild,
    recall,
    refresh,
    remember,
    status,
    sync,
)
from incidents.memory.index import Loaded
from incidents.memory.rows import entries
from incidents.models import MemoryEntry
from incidents.queue import State
from tests.incidents.memory.conftest import MakeIncident
from tests.incidents.memory.qdrant_server import FakeQdrant

pytestmark = pytest.mark.django_db

TROUBLES = (
    ("DiskFull", "The filesystem of nas is almost full"),
    ("CertificateExpires", "The TLS certificate of the proxy expires in three days"),
    ("PodCrashLooping", "The container restarts again and again, exit code 137"),
)


@pytest.fixture
def remembered(make_incident: MakeIncident) -> list[MemoryEntry]:
    for name, text in TROUBLES:
        sync(remember(make_incident(name, text)).pk)
    forget_index()
    return list(entries().order_by("pk"))


def names(query: str) -> list[str]:
    return [found.alert_name for found in recall(query)]


def test_a_new_process_loads_what_the_database_has(remembered: list[MemoryEntry]) -> None:
    assert status() == "building"
    assert fill() == 3
    assert status() == "connected"
    assert get_index().store.count() == 3
    assert names("killed because it used too much memory: exit code 137") == ["PodCrashLooping"]


def test_loading_embeds_nothing(remembered: list[MemoryEntry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("incidents.memory.embed.MiniLM.embed", None)
    assert fill() == 3


def test_batches_add_up(remembered: list[MemoryEntry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "BATCH_ROWS", 2)
    assert fill() == 3
    assert len(get_index()) == 3


def test_recall_loads_by_itself(remembered: list[MemoryEntry]) -> None:
    assert names("certificate of the proxy") == ["CertificateExpires"]


def test_a_start_revives_what_died_and_what_another_model_made(remembered: list[MemoryEntry]) -> None:
    entries().filter(pk=remembered[0].pk).update(state=State.DEAD, error="no such model")
    entries().filter(pk=remembered[1].pk).update(model="an old model")
    fill()
    assert set(entries().filter(state=State.WAITING).values_list("pk", flat=True)) == {
        remembered[0].pk,
        remembered[1].pk,
    }
    assert get_index().store.count() == 2  # never a vector of another model


def test_what_another_process_wrote_is_picked_up(
    remembered: list[MemoryEntry], make_incident: MakeIncident
) -> None:
    fill()
    here = get_index()
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setattr("incidents.memory.index._index", None)
        sync(remember(make_incident("DnsDown", "The resolver does not answer")).pk)
    assert get_index() is here
    assert refresh() == 1
    assert refresh() == 0
    assert here.store.count() == 4
    assert names("the DNS resolver does not answer") == ["DnsDown"]


def test_a_row_that_was_deleted_is_forgotten_when_it_is_met(remembered: list[MemoryEntry]) -> None:
    fill()
    remembered[0].incident.delete()
    assert "DiskFull" not in names("The filesystem of nas is almost full")
    assert len(get_index()) == 2
    assert get_index().store.count() == 2


def test_a_rebuild_embeds_everything_and_swaps(remembered: list[MemoryEntry]) -> None:
    fill()
    get_index().store.delete(remembered[0].pk)
    entries().filter(pk=remembered[1].pk).update(vector=None, model="")
    steps: list[tuple[int, int]] = []
    assert rebuild(lambda done, total: steps.append((done, total))) == 3
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert get_index().store.count() == 3
    assert status() == "connected"
    assert names("certificate of the proxy") == ["CertificateExpires"]


def test_a_rebuild_that_cannot_embed_keeps_the_vectors_it_has(
    remembered: list[MemoryEntry], settings: Settings
) -> None:
    settings.EMBEDDING_MODEL, settings.OPENAI_BASE_URL = "openai:m", "http://127.0.0.1:9/v1"
    assert rebuild() == 0
    row = entries().get(pk=remembered[0].pk)
    assert (row.state, row.model) == (State.WAITING, "all-MiniLM-L6-v2-int8")
    assert row.vector == remembered[0].vector


def test_a_database_that_fails_is_said(
    remembered: list[MemoryEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr(load, "_revive", fail)
    with pytest.raises(RuntimeError):
        fill()
    assert status() == "disconnected"


def test_a_server_that_has_everything_is_not_written_again(
    remembered: list[MemoryEntry], qdrant: FakeQdrant
) -> None:
    fill()
    assert len(qdrant.points()) == 3
    forget_index()
    qdrant.requests.clear()
    fill()
    assert [request for request in qdrant.requests if request[0] == "PUT"] == []
    assert names("certificate of the proxy") == ["CertificateExpires"]


def test_without_the_server_words_still_answer(remembered: list[MemoryEntry], qdrant: FakeQdrant) -> None:
    qdrant.down = True
    fill()
    assert status() == "disconnected"
    found = recall("certificate of the proxy expires")
    assert [each.alert_name for each in found] == ["CertificateExpires"]
    assert found[0].dense is None
    assert "found by words alone: the vector search did not answer" in found[0].why


def test_without_words_either_it_is_an_error(
    remembered: list[MemoryEntry], qdrant: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()
    qdrant.down = True
    get_index().loaded = Loaded.FAILED
    monkeypatch.setattr(load, "fill", lambda: 0)
    with pytest.raises(MemoryUnavailable):
        recall("certificate")


def test_what_a_server_missed_or_lost_is_written_again(
    remembered: list[MemoryEntry], qdrant: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(load, "fill_in_background", fill)
    qdrant.down = True
    fill()
    qdrant.down = False
    refresh()
    assert len(qdrant.points()) == 3
    qdrant.collections.clear()
    time.sleep(0.01)
    recall("certificate of the proxy")
    refresh()
    assert len(qdrant.points()) == 3
    assert not get_index().lost


def test_a_rebuild_on_a_server_removes_what_is_gone(
    remembered: list[MemoryEntry], qdrant: FakeQdrant
) -> None:
    fill()
    remembered[0].incident.delete()
    assert rebuild() == 2
    assert len(qdrant.points()) == 2


def test_a_process_that_never_recalls_reports_the_server(qdrant: FakeQdrant) -> None:
    assert status() == "connected"
    qdrant.down = True
    assert status() == "disconnected"


@pytest.mark.django_db(transaction=True)
def test_loading_in_the_background_ends_connected(remembered: list[MemoryEntry]) -> None:
    load.fill_in_background().join(20)
    assert status() == "connected"
    assert len(get_index()) == 3
