"""evaluate_memory and rebuild_memory."""

from __future__ import annotations

import json
import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from incidents import jobs
from incidents.management.commands import rebuild_memory
from incidents.management.commands.evaluate_memory import Answer, score
from incidents.memory import remember, renewal, sync
from incidents.models import Job
from incidents.queue import State
from tests.e2e.process import wait_until
from tests.incidents.memory.conftest import MakeIncident
from tests.incidents.memory.qdrant_server import FakeQdrant

DOCUMENTS: list[dict[str, Any]] = [
    {"id": "disk", "text": "## Meaning\nA filesystem runs out of space.\n## Mitigation\nDelete old files."},
    {"id": "cert", "text": "## Meaning\nA TLS certificate is about to expire. Renew it."},
    {"id": 3, "text": "## Meaning\nA pod restarts in a loop. Look at the logs of its last container."},
]
QUERIES: list[dict[str, Any]] = [
    {"id": "q1", "text": "node_filesystem_avail_bytes is below 3%", "relevant": ["disk"]},
    {"id": "q2", "text": "the web site's encryption will be invalid next week", "relevant": ["cert"]},
    {"id": "q3", "text": "KubePodCrashLooping", "relevant": [3]},
]


def run(command: str, *arguments: str) -> list[str]:
    out = StringIO()
    call_command(command, *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().splitlines()


def write(path: Path, objects: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(json.dumps(each) for each in objects) + "\n")
    return str(path)


def test_the_last_line_is_the_quality(tmp_path: Path) -> None:
    documents = write(tmp_path / "documents.jsonl", DOCUMENTS)
    queries = write(tmp_path / "queries.jsonl", QUERIES)
    result = json.loads(run("evaluate_memory", "--documents", documents, "--queries", queries)[-1])
    assert result.pop("p95_ms") > 0
    assert (result["recall_at_1"], result["recall_at_5"], result["ndcg_at_10"]) == (1.0, 1.0, 1.0)
    # Nothing else is like a query whose document was taken out. One shares too little with its own, too.
    assert (result["abstention_precision"], result["abstention_recall"]) == (0.75, 1.0)


def test_the_index_is_whole_again_after_documents_were_taken_out(tmp_path: Path) -> None:
    documents = write(tmp_path / "documents.jsonl", DOCUMENTS)
    queries = write(tmp_path / "queries.jsonl", [*QUERIES, *QUERIES])
    result = json.loads(run("evaluate_memory", "--documents", documents, "--queries", queries)[-1])
    assert result["recall_at_1"] == 1.0


def test_a_relevant_document_that_is_not_among_the_documents_counts_as_missed(tmp_path: Path) -> None:
    documents = write(tmp_path / "documents.jsonl", DOCUMENTS)
    queries = write(tmp_path / "queries.jsonl", [QUERIES[0] | {"relevant": ["disk", "elsewhere"]}])
    result = json.loads(run("evaluate_memory", "--documents", documents, "--queries", queries)[-1])
    assert result["recall_at_5"] == 0.5


@pytest.mark.parametrize(
    ("documents", "queries", "said"),
    [
        ('{"id": 1}', "", "line 1: wants id, text"),
        ('{"id": 1, "text": "a"}\nnot json', "", "line 2"),
        ('{"id": 1, "text": "a"}', '{"id": 1, "text": "a", "relevant": []}', "nothing is relevant"),
        ('{"id": 1, "text": "a"}', "", "no queries"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, documents: str, queries: str, said: str) -> None:
    (tmp_path / "d").write_text(documents)
    (tmp_path / "q").write_text(queries)
    with pytest.raises(CommandError, match=said):
        run("evaluate_memory", "--documents", str(tmp_path / "d"), "--queries", str(tmp_path / "q"))
    with pytest.raises(CommandError, match="missing"):
        run("evaluate_memory", "--documents", str(tmp_path / "missing"), "--queries", str(tmp_path / "q"))


def test_scores_are_means_over_the_queries() -> None:
    result = score(
        [
            Answer(["a", "b", "c"], ["b"], 0.001, abstained=False, abstained_without=True),
            Answer(["x", "y"], ["x", "q"], 0.003, abstained=True, abstained_without=True),
        ]
    )
    assert result["recall_at_1"] == 0.25
    assert result["recall_at_5"] == 0.75
    assert result["ndcg_at_10"] == pytest.approx((0.6309 + 1 / 1.6309) / 2, abs=1e-3)
    assert result["p95_ms"] == pytest.approx(2.9)
    assert result["abstention_precision"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["abstention_recall"] == 1.0


def test_who_never_abstains_has_no_precision() -> None:
    answer = Answer(["a"], ["a"], 0.001, abstained=False, abstained_without=False)
    assert score([answer])["abstention_precision"] is None
    assert score([answer])["abstention_recall"] == 0.0


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_SECONDS", "TAKEN_WITHIN_SECONDS"):
        monkeypatch.setattr(rebuild_memory, name, 0)
    monkeypatch.setattr(renewal, "TELL_SECONDS", 0)


def learn(make_incident: MakeIncident, number: int = 2) -> None:
    for each in range(number):
        assert sync(remember(make_incident(f"Alert{each}", f"trouble {each}")).pk)


@pytest.mark.django_db
@pytest.mark.usefixtures("_impatient")
def test_with_a_server_the_command_rebuilds_and_tells_how_far_it_is(
    make_incident: MakeIncident, qdrant: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(make_incident)
    monkeypatch.setattr(renewal, "BATCH_ROWS", 1)
    monkeypatch.setattr(renewal, "SLICE_SECONDS", 0)
    lines = run("rebuild_memory")
    assert lines == ["1 of 2", "2 of 2", "2 entries embedded and indexed, 0 wait"]
    assert len(qdrant.points()) == 2
    assert qdrant.aliases["homelab_past"] == "homelab_past_2"


@pytest.mark.django_db
@pytest.mark.usefixtures("_impatient")
def test_with_a_server_that_is_away_the_command_says_so_and_the_job_waits(
    make_incident: MakeIncident, qdrant: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild_memory, "SILENT_SECONDS", 0)
    learn(make_incident)
    qdrant.down = True
    with pytest.raises(CommandError, match="Nothing was heard"):
        run("rebuild_memory")
    job = Job.queue.get()
    assert job.state == State.WAITING
    assert "503" in job.error
    qdrant.down = False
    monkeypatch.setattr(rebuild_memory, "SILENT_SECONDS", 60)
    Job.queue.update(due_at=timezone.now())
    assert run("rebuild_memory")[-1] == "2 entries embedded and indexed, 0 wait"


@pytest.mark.django_db
@pytest.mark.usefixtures("_impatient")
def test_in_process_the_command_asks_the_running_server(make_incident: MakeIncident) -> None:
    learn(make_incident)
    assert run("rebuild_memory")[0].startswith("Requested")
    job = Job.queue.get()
    assert (job.name, job.state, job.requested_by) == ("rebuild_memory", State.WAITING, "manage.py")
    jobs.run(job.pk)  # in the server
    job.refresh_from_db()
    assert (job.state, job.result["embedded"]) == (State.DONE, 2)


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_the_running_server_and_tells_what_that_tells(
    make_incident: MakeIncident, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(make_incident)
    monkeypatch.setattr(rebuild_memory, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(renewal, "TELL_SECONDS", 0)

    def serve() -> None:
        wait_until(Job.objects.exists, 10, "nothing was requested")
        jobs.run(Job.queue.get().pk)
        connection.close()

    server = threading.Thread(target=serve)
    server.start()
    try:
        lines = run("rebuild_memory")
    finally:
        server.join(20)
    assert lines[-1] == "2 entries embedded and indexed, 0 wait"


@pytest.mark.django_db
def test_interrupted_it_leaves_the_job_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("incidents.management.commands.rebuild_memory.time.sleep", interrupt)
    assert run("rebuild_memory") == ["The rebuild goes on in the server."]
    assert Job.queue.get().state == State.WAITING


@pytest.mark.django_db
def test_it_need_not_wait() -> None:
    assert run("rebuild_memory", "--no-wait")[0].startswith("Requested")
    assert Job.queue.get().state == State.WAITING


@pytest.mark.django_db
def test_a_model_that_cannot_be_had_is_said(
    make_incident: MakeIncident, qdrant: FakeQdrant, settings: Settings, tmp_path: Path
) -> None:
    learn(make_incident)
    settings.EMBEDDING_MODEL = str(tmp_path)
    with pytest.raises(CommandError, match=str(tmp_path)):
        run("rebuild_memory")
    assert len(qdrant.points()) == 2
