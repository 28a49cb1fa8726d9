"""A model that gives vectors of another length under the name it had: nobody is stopped, and it heals."""

from __future__ import annotations

import numpy as np
import pytest
from django.utils import timezone

from incidents import jobs
from incidents.memory import embed, fill, forget_index, load, recall, refresh, remember, sync
from incidents.memory.embed import MiniLM
from incidents.memory.recall import BY_WORDS_ALONE
from incidents.memory.rows import entries, packed
from incidents.models import Job, MemoryEntry
from incidents.queue import State
from tests.incidents.memory.conftest import MakeIncident
from tests.incidents.memory.qdrant_server import FakeQdrant
from tests.incidents.memory.test_load import TROUBLES

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["in process", "on a server"])
def server(request: pytest.FixtureRequest) -> FakeQdrant | None:
    return request.getfixturevalue("qdrant") if request.param == "on a server" else None


@pytest.fixture
def remembered(server: FakeQdrant | None, make_incident: MakeIncident) -> list[MemoryEntry]:
    for name, text in TROUBLES:
        assert sync(remember(make_incident(name, text)).pk)
    fill()
    return list(entries().order_by("pk"))


def rebuilt() -> Job:
    """The job, after its turn."""
    Job.queue.filter(state=State.WAITING).update(due_at=timezone.now())
    job = Job.objects.get()
    jobs.run(job.pk)
    job.refresh_from_db()
    return job


def names(query: str) -> list[str]:
    return [found.alert_name for found in recall(query)]


def lengths() -> set[int]:
    return {len(row.vector or b"") // 4 for row in entries()}


def test_a_row_with_vectors_of_another_length_stops_nobody_and_is_made_again(
    remembered: list[MemoryEntry], server: FakeQdrant | None
) -> None:
    other = packed(embed.unit_rows(np.ones((1, 64))))
    entries().filter(pk=remembered[0].pk).update(vector=other)
    forget_index()
    fill()
    assert names("certificate of the proxy") == ["CertificateExpires"]
    assert Job.objects.exists() is (server is None)  # a server has them as they were
    jobs.request(load.REBUILD, by="start")
    job = rebuilt()
    assert (job.state, job.error) == (State.DONE, "")
    assert lengths() == {384}
    assert names("no space left on the nas") == ["DiskFull"]


def test_a_model_that_gives_another_length_under_its_name_is_noticed_and_words_find_meanwhile(
    remembered: list[MemoryEntry], make_incident: MakeIncident, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = MiniLM.embed
    monkeypatch.setattr(MiniLM, "embed", lambda self, texts: embed.unit_rows(whole(self, texts)[:, :64]))
    monkeypatch.setattr(MiniLM, "SIZE", 64)
    monkeypatch.setattr(load, "PAUSE_SECONDS", 0)
    found = recall("the filesystem of nas is almost full")
    assert [each.alert_name for each in found] == ["DiskFull"]
    assert BY_WORDS_ALONE in found[0].why
    assert sync(remember(make_incident("DnsDown", "The resolver does not answer any query")).pk)
    assert names("resolver does not answer") == ["DnsDown"]
    refresh()
    assert Job.objects.get().requested_by == "start"
    job = rebuilt()
    assert (job.state, job.error) == (State.DONE, "")
    assert lengths() == {64}
    assert recall("the resolver does not answer any query")[0].dense is not None
    refresh()
    assert Job.objects.get().state == State.DONE
