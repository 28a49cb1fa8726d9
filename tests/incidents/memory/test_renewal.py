"""The memory made anew: another model, another server, everything embedded again, and kills in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from incidents import jobs
from incidents.memory import embed, fill, forget_index, get_index, recall, remember, renewal, status, sync
from incidents.memory.embed import MiniLM, Vectors
from incidents.memory.errors import EmbeddingError
from incidents.memory.recall import BY_WORDS_ALONE
from incidents.memory.rows import document, entries
from incidents.models import Incident, Job, MemoryEntry
from incidents.queue import State
from tests.incidents.memory.conftest import MakeIncident, make_due
from tests.incidents.memory.qdrant_server import FakeQdrant
from tests.incidents.memory.test_load import TROUBLES

pytestmark = pytest.mark.django_db

OLD, NEW = MiniLM.NAME, "openai:shorter"
SPACE, CERT = "no space left on the nas", "certificate of the proxy"


class Shorter:
    """Another model: 64 numbers; what it was asked for, and what it does before it answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda text: None

    name = NEW
    size = 64

    def embed(self, texts: list[str]) -> Vectors:
        for text in texts:
            self.asked.append(text)
            self.before(text)
        return embed.unit_rows(MiniLM().embed(texts)[:, :64])


class Killed(BaseException):
    """As if the process were gone."""


@pytest.fixture(params=["in process", "on a server"])
def server(request: pytest.FixtureRequest) -> FakeQdrant | None:
    return request.getfixturevalue("qdrant") if request.param == "on a server" else None


@pytest.fixture
def shorter(monkeypatch: pytest.MonkeyPatch) -> Shorter:
    """Known, and not in the settings yet."""
    model = Shorter()
    make = embed._make
    monkeypatch.setattr(embed, "_embedders", {})
    monkeypatch.setattr(embed, "_make", lambda setting: model if setting == NEW else make(setting))
    monkeypatch.setattr(renewal, "BATCH_ROWS", 1)
    return model


@pytest.fixture
def remembered(server: FakeQdrant | None, make_incident: MakeIncident) -> list[MemoryEntry]:
    for name, text in TROUBLES:
        assert sync(remember(make_incident(name, text)).pk)
    fill()
    return list(entries().order_by("pk"))


def start_again() -> None:
    """A new process; what the dead one claimed is free."""
    forget_index()
    Job.queue.filter(state=State.RUNNING).update(state=State.WAITING, lease_until=None)
    fill()


def replace_model(settings: Settings) -> None:
    """A new process, whose settings name the new model."""
    settings.EMBEDDING_MODEL = NEW
    start_again()


def work() -> Job:
    """The job's turn; as it is afterwards."""
    Job.queue.filter(state=State.WAITING).update(due_at=timezone.now())
    for pk in Job.queue.due().values_list("pk", flat=True):
        jobs.run(pk)
    return Job.objects.get()


def result(job: Job) -> dict[str, Any]:
    assert job.result is not None
    found: dict[str, Any] = job.result
    return found


def work_to_the_end() -> list[int]:
    """Turn after turn; how many rows were done after each but the last."""
    seen = []
    while (job := work()).state == State.WAITING:
        seen.append(result(job)["done"])
    assert job.state == State.DONE
    return seen


def names(query: str) -> list[str]:
    return [found.alert_name for found in recall(query)]


def models() -> set[tuple[str, str, bool]]:
    rows = entries().values_list("model", "next_model", "next_vector")
    return {(now, then, vector is None) for now, then, vector in rows}


def test_a_changed_model_is_noticed_at_the_start_and_the_old_one_serves_meanwhile(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings
) -> None:
    replace_model(settings)
    job = Job.objects.get()
    assert (job.name, job.state, job.requested_by) == ("rebuild_memory", State.WAITING, "start")
    assert names(SPACE) == ["DiskFull"]
    assert get_index().model() == OLD
    assert shorter.asked == []
    assert work().state == State.DONE
    assert get_index().model() == NEW
    assert names(SPACE)[0] == "DiskFull"
    assert models() == {(NEW, "", True)}
    assert {len(row.vector or b"") for row in entries()} == {64 * 4}
    start_again()
    assert get_index().model() == NEW
    assert Job.objects.get().state == State.DONE
    assert status() == "connected"


def test_the_old_one_serves_until_the_last_is_embedded(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings
) -> None:
    replace_model(settings)
    during: list[list[str]] = []
    shorter.before = lambda text: during.append(names(SPACE)) if text not in (SPACE, "size") else None
    work()
    assert during == [["DiskFull"]] * 3


@pytest.mark.parametrize("at", [1, 2])
def test_killed_half_way_it_goes_on_and_embeds_nothing_twice(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings, at: int
) -> None:
    replace_model(settings)

    def kill(text: str) -> None:
        if len(shorter.asked) > at:
            raise Killed

    shorter.before = kill
    with pytest.raises(Killed):
        work()
    shorter.before = lambda text: None
    first = shorter.asked[:at]
    del shorter.asked[:]
    start_again()
    assert names(CERT) == ["CertificateExpires"]
    assert work().state == State.DONE
    assert set(first).isdisjoint(shorter.asked)
    assert len({*first, *shorter.asked}) == 3
    assert names(CERT)[0] == "CertificateExpires"


@pytest.mark.parametrize("step", ["_catch_up", "_promote", "Index.switch", "_Turn.tell"])
def test_killed_at_any_step_it_ends_the_same(
    remembered: list[MemoryEntry],
    server: FakeQdrant | None,
    shorter: Shorter,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    replace_model(settings)

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(f"incidents.memory.renewal.{step}", kill)
        with pytest.raises(Killed):
            work()
    start_again()
    assert names(CERT)[0] == "CertificateExpires"
    work()
    assert models() == {(NEW, "", True)}
    assert len(shorter.asked) - shorter.asked.count(CERT) == 3
    assert get_index().model() == NEW
    if server is not None:
        assert server.collections.keys() == set(server.aliases.values())


def test_slice_by_slice_it_comes_to_the_end(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "SLICE_SECONDS", 0)
    replace_model(settings)
    assert work_to_the_end() == [1, 2, 3]
    ended = result(Job.objects.get())
    assert (ended["done"], ended["total"], ended["embedded"]) == (3, 3, 3)


def test_what_is_remembered_meanwhile_is_in_both(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings, make_incident: MakeIncident
) -> None:
    replace_model(settings)
    late: list[Incident] = []

    def close_another(text: str) -> None:
        if not late and text != CERT:
            late.append(make_incident("DnsDown", "The resolver does not answer any query"))
            assert sync(remember(late[0]).pk)
            assert names("resolver does not answer") == ["DnsDown"]

    shorter.before = close_another
    work()
    assert names("resolver does not answer")[0] == "DnsDown"
    assert models() == {(NEW, "", True)}


def test_a_text_that_changes_while_it_is_embedded_is_embedded_again(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings
) -> None:
    replace_model(settings)

    def annotate(text: str) -> None:
        incident = Incident.objects.get(pk=remembered[0].incident_id)
        if not incident.human_cause:
            incident.human_cause = "a runaway backup of the photos"
            incident.save()
            remember(incident)

    shorter.before = annotate
    work()
    make_due()
    assert sync(remembered[0].pk)
    row = entries().get(pk=remembered[0].pk)
    assert (row.model, row.next_model) == (NEW, "")
    assert recall("a runaway backup of the photos")[0].entry_id == row.pk


def test_asked_for_by_a_person_everything_is_embedded_anew(remembered: list[MemoryEntry]) -> None:
    entries().filter(pk=remembered[0].pk).update(vector=remembered[1].vector)  # wrong, and nobody knows
    renewal.request(by="robin")
    done = result(work())
    assert (done["embedded"], done["failed"]) == (3, 0)
    assert bytes(entries().get(pk=remembered[0].pk).vector or b"") == bytes(remembered[0].vector or b"")
    assert names(SPACE) == ["DiskFull"]
    assert status() == "connected"


def test_what_failed_begins_anew_when_a_person_asks(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "SLICE_SECONDS", 0)
    replace_model(settings)
    work()
    Job.objects.update(state=State.DEAD, error="ValueError: what it made cannot be used")
    renewal.request(by="robin")
    job = Job.objects.get()
    assert (job.state, job.result) == (State.WAITING, None)


def test_asked_for_again_it_goes_on(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_model(settings)
    monkeypatch.setattr(renewal, "SLICE_SECONDS", 0)
    work()
    renewal.request(by="robin")
    work_to_the_end()
    assert len(shorter.asked) == 3


def test_what_was_begun_for_another_model_begins_anew(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "SLICE_SECONDS", 0)
    replace_model(settings)
    work()
    monkeypatch.setattr(shorter, "name", "openai:third", raising=False)
    del shorter.asked[:]
    work_to_the_end()
    assert len(shorter.asked) == 3
    assert models() == {("openai:third", "", True)}


def test_a_model_server_that_is_away_is_waited_for(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings
) -> None:
    replace_model(settings)

    def away(text: str) -> None:
        raise EmbeddingError("the model's server is away", retryable=True)

    shorter.before = away
    job = work()
    assert (job.state, job.attempts, job.error) == (State.WAITING, 0, "the model's server is away")
    assert names(SPACE) == ["DiskFull"]
    shorter.before = lambda text: None
    work()
    assert models() == {(NEW, "", True)}


def test_a_text_that_no_vector_can_be_made_of_is_found_by_its_words(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings
) -> None:
    replace_model(settings)

    def refuse(text: str) -> None:
        if text.startswith("DiskFull"):
            raise EmbeddingError("a vector that is zero", retryable=False)

    shorter.before = refuse
    job = work()
    assert (job.state, result(job)["failed"], result(job)["embedded"]) == (State.DONE, 1, 2)
    assert "DiskFull" in names("the filesystem of nas is almost full")


def test_a_model_that_is_gone_leaves_the_words_until_the_new_one_is_ready(
    remembered: list[MemoryEntry], shorter: Shorter, settings: Settings, make_incident: MakeIncident
) -> None:
    entries().update(model="folder@123456789abc")
    get_index().store.close()
    forget_index()
    for row in entries():
        index_as(row, "folder@123456789abc")
    replace_model(settings)
    found = recall("the filesystem of nas is almost full")
    assert [each.alert_name for each in found] == ["DiskFull"]
    assert BY_WORDS_ALONE in found[0].why
    assert sync(remember(make_incident("DnsDown", "The resolver does not answer any query")).pk)
    assert names("resolver does not answer") == ["DnsDown"]
    work()
    assert recall("the resolver does not answer any query")[0].dense is not None
    assert models() == {(NEW, "", True)}


def index_as(row: MemoryEntry, model: str) -> None:
    """On a server its points say which model made them."""
    store = get_index().store
    if store.in_process:
        return
    if store.model() == OLD:
        beside, name, _ = store.beside(None, model, 384)
        beside.write([document(each, model) for each in entries()])
        store.switch(name)
