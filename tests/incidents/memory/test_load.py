"""From the database into a process: at its start, while it runs, and anew."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from pytest_django.fixtures import Settings

from incidents import jobs
from incidents.memory import (
    MemoryUnavailable,
    fill,
    forget_index,
    get_index,
    index,
    load,
    recall,
    refresh,
    remember,
    renewal,
    status,
    sync,
    wants_server,
)
from incidents.memory.by_name import BY_NAME_ALONE
from incidents.memory.embed import MiniLM
from incidents.memory.rows import entries
from incidents.models import Job, MemoryEntry
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


def on_server() -> None:
    """Everything is there."""
    fill()
    work()
    forget_index()


def work() -> None:
    """Do the jobs that were asked for."""
    for pk in Job.queue.due().values_list("pk", flat=True):
        jobs.run(pk)


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


def test_a_start_revives_what_died(remembered: list[MemoryEntry]) -> None:
    entries().filter(pk=remembered[0].pk).update(state=State.DEAD, error="no such model")
    fill()
    assert entries().get(pk=remembered[0].pk).state == State.WAITING
    assert not Job.objects.exists()


def test_what_another_process_wrote_is_picked_up(
    remembered: list[MemoryEntry], make_incident: MakeIncident
) -> None:
    fill()
    here = get_index()
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setattr("incidents.memory.index._indexes", {})
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


def test_a_database_that_fails_is_said(
    remembered: list[MemoryEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(shelf: str) -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr(load, "_revive", fail)
    with pytest.raises(RuntimeError):
        fill()
    assert status() == "disconnected"


def test_a_server_that_has_everything_is_neither_read_nor_written(
    remembered: list[MemoryEntry], qdrant: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_server()
    qdrant.requests.clear()
    monkeypatch.setattr(load, "load_all", None)  # a process must not need the texts of all
    assert fill() == 3
    assert [request for request in qdrant.requests if request[0] == "PUT"] == []
    assert names("certificate of the proxy") == ["CertificateExpires"]
    assert len(get_index()) == 0


def test_a_new_server_is_filled_in_the_background(remembered: list[MemoryEntry], qdrant: FakeQdrant) -> None:
    fill()
    assert status() == "building"
    work()
    assert len(qdrant.points()) == 3
    assert refresh() == 0
    assert status() == "connected"
    assert names("certificate of the proxy") == ["CertificateExpires"]


def test_a_new_memory_on_a_server_has_nothing_to_say(qdrant: FakeQdrant) -> None:
    fill()
    assert status() == "connected"
    assert names("certificate of the proxy") == []
    assert not Job.objects.exists()


def test_without_the_server_only_the_alerts_name_finds(
    remembered: list[MemoryEntry], qdrant: FakeQdrant
) -> None:
    qdrant.down = True
    fill()
    assert status() == "disconnected"
    (found,) = recall("the certificate of the proxy", alert_name="CertificateExpires")
    assert found.alert_name == "CertificateExpires"
    assert (found.dense, found.lexical) == (None, None)
    assert BY_NAME_ALONE in found.why
    for alert_name in (None, "NeverSeen"):
        with pytest.raises(MemoryUnavailable):
            recall("certificate of the proxy expires", alert_name=alert_name)


def test_what_a_server_lost_is_written_again(
    remembered: list[MemoryEntry], qdrant: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PAUSE_SECONDS", 0)
    on_server()
    qdrant.collections.clear()
    qdrant.aliases.clear()
    with pytest.raises(MemoryUnavailable):
        recall("certificate of the proxy")
    refresh()
    assert status() == "building"
    monkeypatch.setattr("incidents.memory.embed.MiniLM.embed", None)  # the database has the vectors
    work()
    refresh()
    assert len(qdrant.points()) == 3
    assert status() == "connected"


def test_who_writes_first_to_a_server_that_lost_all_sees_to_the_others(
    remembered: list[MemoryEntry],
    qdrant: FakeQdrant,
    make_incident: MakeIncident,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load, "PAUSE_SECONDS", 0)
    sync(remember(make_incident("DnsDown", "The resolver does not answer")).pk)
    assert len(qdrant.points()) == 1
    work()
    assert len(qdrant.points()) == 4


def test_a_process_that_never_recalls_sees_that_another_has_rebuilt(
    remembered: list[MemoryEntry], qdrant: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()
    here = dict(index._indexes)
    assert status() == "building"
    index._indexes.clear()
    work()  # elsewhere
    index._indexes.update(here)
    monkeypatch.setattr(load, "PAUSE_SECONDS", 0)
    assert status() == "connected"


def test_what_is_remembered_before_a_start_has_loaded_is_of_the_model_that_serves(
    remembered: list[MemoryEntry], make_incident: MakeIncident, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = "openai:the-old-one"
    entries().update(model=old)
    monkeypatch.setattr("incidents.memory.embed.MiniLM.name", property(lambda model: "a new one"))
    asked: list[str | None] = []

    def get_embedder(name: str | None = None) -> MiniLM:
        asked.append(name)
        return MiniLM()

    monkeypatch.setattr(sys.modules["incidents.memory.sync"], "get_embedder", get_embedder)
    assert sync(remember(make_incident("DnsDown", "The resolver does not answer")).pk)
    assert asked == [old]
    assert fill() == 4
    assert get_index().store.model() == old


def test_above_so_many_entries_it_says_that_it_wants_a_server(
    remembered: list[MemoryEntry],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: Settings,
) -> None:
    assert wants_server() is None
    monkeypatch.setattr(load, "MANY", 2)
    fill()
    assert "3 entries are many for one process: a Qdrant server (QDRANT_URL)" in caplog.text
    settings.QDRANT_URL = "http://127.0.0.1:9"
    assert wants_server() is None


def test_a_process_that_never_recalls_reports_the_server(qdrant: FakeQdrant) -> None:
    assert status() == "connected"
    qdrant.down = True
    assert status() == "disconnected"


@pytest.mark.django_db(transaction=True)
def test_loading_in_the_background_ends_connected(remembered: list[MemoryEntry]) -> None:
    load.fill_in_background().join(20)
    assert status() == "connected"
    assert len(get_index()) == 3


def test_vectors_of_another_cut_are_made_again(remembered: list[MemoryEntry]) -> None:
    entries().filter(pk=remembered[0].pk).update(vector=np.ones(384 + 7, dtype="<f4").tobytes())
    fill()
    work()
    assert len(entries().get(pk=remembered[0].pk).vector or b"") == 384 * 4


def test_a_fill_that_failed_is_not_tried_at_each_recall(
    remembered: list[MemoryEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def refuse(here: index.Index, model: str) -> int:
        tried.append(here.shelf)
        raise MemoryUnavailable("a vector that cannot be stored", retryable=False)

    monkeypatch.setattr(load, "load_all", refuse)
    monkeypatch.setattr(load, "REFRESH_SECONDS", 0)
    for _ in range(3):
        (found,) = recall("the certificate of the proxy", alert_name="CertificateExpires")
        assert BY_NAME_ALONE in found.why
    assert tried == ["past"]
    assert Job.objects.get().name == load.REBUILD


@pytest.mark.parametrize("home", ["in process", "on a server"])
def test_what_is_gone_from_the_database_is_gone_from_a_rebuilt_index(
    remembered: list[MemoryEntry], home: str, request: pytest.FixtureRequest
) -> None:
    if home == "on a server":
        request.getfixturevalue("qdrant")
    on_server()
    assert remembered[0].incident is not None
    remembered[0].incident.delete()
    renewal.request(by="robin")
    work()
    assert get_index().store.count() == 2
