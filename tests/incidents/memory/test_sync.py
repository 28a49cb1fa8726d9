"""From an incident to an entry that can be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytest_django.fixtures import Settings

from incidents.memory import get_index, recall, remember, sync
from incidents.memory.embed import Vectors, unit_rows
from incidents.memory.errors import EmbeddingError
from incidents.memory.recall import BY_WORDS_ALONE
from incidents.memory.rows import entries, vectors_of
from incidents.memory.store import Asked, Document
from incidents.memory.store_server import ServerStore
from incidents.memory.words import words
from incidents.models import Incident
from incidents.queue import State
from tests.incidents.memory.conftest import MakeIncident, make_due
from tests.incidents.memory.qdrant_server import FakeQdrant

pytestmark = pytest.mark.django_db
MODEL = "all-MiniLM-L6-v2-int8"


@pytest.fixture
def incident(make_incident: MakeIncident) -> Incident:
    return make_incident(
        "DiskFull",
        "The root filesystem of nas has 1% left",
        root_cause="old snapshots",
        remediation_taken="removed them",
        verdict="verified",
        resolution_seconds=90.0,
    )


def test_a_remembered_incident_is_embedded_and_found(incident: Incident) -> None:
    entry = remember(incident)
    assert (entry.state, entry.vector) == (State.WAITING, None)
    assert sync(entry.pk) is True
    entry.refresh_from_db()
    assert (entry.state, entry.model) == (State.DONE, "all-MiniLM-L6-v2-int8")
    assert entry.synced_at is not None
    assert len(entry.vector or b"") == 384 * 4
    vectors = vectors_of(entry, MODEL)
    assert vectors is not None
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert [found.incident_id for found in recall("no space left on the nas")] == [incident.pk]


def test_remembering_the_same_again_changes_nothing(incident: Incident) -> None:
    entry = remember(incident)
    sync(entry.pk)
    before = entries().values().get(pk=entry.pk)
    remember(incident)
    assert entries().values().get(pk=entry.pk) == before
    assert sync(entry.pk) is False


def test_a_persons_annotation_is_embedded_again(incident: Incident) -> None:
    entry = remember(incident)
    sync(entry.pk)
    before = entries().get(pk=entry.pk)
    incident.human_cause = "the UPS firmware floods the log"
    incident.save()
    assert remember(incident).state == State.WAITING
    assert sync(entry.pk) is True
    after = entries().get(pk=entry.pk)
    assert after.vector != before.vector
    assert "UPS firmware" in recall("UPS firmware floods the log")[0].text
    assert get_index().store.count() == 1


def test_a_change_of_facts_alone_keeps_the_vector(incident: Incident) -> None:
    entry = remember(incident)
    sync(entry.pk)
    incident.resolution_seconds = 95.0
    changed = remember(incident)
    assert changed.state == State.WAITING
    assert changed.vector is not None
    assert sync(entry.pk) is True


def test_a_long_incident_has_several_passages(make_incident: MakeIncident) -> None:
    incident = make_incident("LongStory", " ".join(f"line{number} of the story" for number in range(200)))
    entry = remember(incident)
    sync(entry.pk)
    entry.refresh_from_db()
    vectors = vectors_of(entry, MODEL)
    assert vectors is not None
    assert len(vectors) > 3
    assert get_index().store.count() == 1


def test_an_embedding_that_fails_for_now_leaves_no_vector_and_is_tried_again(
    incident: Incident, settings: Settings
) -> None:
    settings.EMBEDDING_MODEL, settings.OPENAI_BASE_URL = "openai:m", "http://127.0.0.1:9/v1"
    entry = remember(incident)
    assert sync(entry.pk) is False
    entry.refresh_from_db()
    assert (entry.state, entry.vector, entry.model, entry.synced_at) == (State.WAITING, None, "", None)
    assert "openai:m" in entry.error
    settings.EMBEDDING_MODEL = "builtin"
    assert sync(entry.pk) is False  # its pause is not over
    make_due()
    assert sync(entry.pk) is True


def test_an_embedding_that_cannot_work_is_visible(
    incident: Incident, settings: Settings, tmp_path: Path
) -> None:
    settings.EMBEDDING_MODEL = str(tmp_path)
    entry = remember(incident)
    assert sync(entry.pk) is False
    entry.refresh_from_db()
    assert (entry.state, entry.vector) == (State.DEAD, None)
    assert str(tmp_path) in entry.error


def test_an_entry_without_a_vector_is_found_by_its_words(incident: Incident, settings: Settings) -> None:
    settings.EMBEDDING_MODEL, settings.OPENAI_BASE_URL = "openai:m", "http://127.0.0.1:9/v1"
    sync(remember(incident).pk)
    found = recall("root filesystem of nas has 1% left")
    assert [each.incident_id for each in found] == [incident.pk]
    assert found[0].dense is None


def test_a_worker_that_lost_its_row_to_a_newer_text_writes_nothing(
    incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = remember(incident)

    def embed_while_a_person_writes(texts: list[str]) -> Vectors:
        incident.human_cause = "a person was faster"
        remember(incident)
        return unit_rows(np.ones((len(texts), 384)))

    monkeypatch.setattr(
        "incidents.memory.embed.MiniLM.embed", lambda self, texts: embed_while_a_person_writes(texts)
    )
    assert sync(entry.pk) is False
    entry.refresh_from_db()
    assert (entry.state, entry.vector) == (State.WAITING, None)
    assert "a person was faster" in entry.text


def test_a_worker_that_writes_an_older_text_last_lets_it_be_written_again(
    incident: Incident, qdrant: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = remember(incident)
    write = ServerStore.write

    def write_late(store: ServerStore, documents: list[Document]) -> bool:
        monkeypatch.setattr(ServerStore, "write", write)
        incident.human_cause = "wombats in the cable duct"
        remember(incident)
        assert sync(entry.pk) is True  # another worker, meanwhile
        return write(store, documents)

    monkeypatch.setattr(ServerStore, "write", write_late)
    assert sync(entry.pk) is False
    entry.refresh_from_db()
    assert entry.state == State.WAITING
    assert sync(entry.pk) is True
    assert get_index().store.search(Asked(words("wombats"), None, "", ())).hits.scores.keys() == {entry.pk}


def test_rows_wait_for_a_server_that_is_away_and_then_drain(
    make_incident: MakeIncident, qdrant: FakeQdrant
) -> None:
    waiting = [remember(make_incident(f"Alert{number}", f"trouble {number}")) for number in range(3)]
    qdrant.down = True
    assert [sync(entry.pk) for entry in waiting] == [False] * 3
    row = entries().get(pk=waiting[0].pk)
    assert (row.state, row.synced_at) == (State.WAITING, None)
    assert row.vector is not None  # embedding need not be done twice
    assert "503" in row.error
    qdrant.down = False
    make_due()
    assert [sync(entry.pk) for entry in waiting] == [True] * 3
    assert len(qdrant.points()) == 3


def test_a_change_of_the_text_drops_the_vectors_of_both_models(incident: Incident) -> None:
    entry = remember(incident)
    sync(entry.pk)
    entries().filter(pk=entry.pk).update(next_model="another", next_vector=b"1234")
    incident.human_cause = "the UPS firmware floods the log"
    changed = remember(incident)
    assert (changed.vector, changed.model, changed.next_vector, changed.next_model) == (None, "", None, "")


def test_on_a_server_too_what_cannot_be_embedded_is_found_by_its_words(
    make_incident: MakeIncident, qdrant: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sync(remember(make_incident("CertificateExpires", "in three days")).pk)

    def fail(self: object, texts: list[str]) -> Vectors:
        raise EmbeddingError("the model is away", retryable=True)

    monkeypatch.setattr("incidents.memory.embed.MiniLM.embed", fail)
    entry = remember(make_incident("DiskFull", "the root filesystem of nas has 1% left"))
    assert sync(entry.pk) is False
    found = recall("root filesystem of nas has 1% left")
    assert [each.entry_id for each in found] == [entry.pk]
    assert BY_WORDS_ALONE in found[0].why


def test_a_wrong_key_is_visible_on_the_row(
    incident: Incident, qdrant: FakeQdrant, settings: Settings
) -> None:
    settings.QDRANT_API_KEY = "another"
    entry = remember(incident)
    assert sync(entry.pk) is False
    entry.refresh_from_db()
    assert entry.state == State.DEAD
    assert "401" in entry.error
