"""evaluate_memory and rebuild_memory."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from incidents.management.commands.evaluate_memory import score
from incidents.memory import remember
from incidents.models import Job, MemoryEntry
from incidents.queue import State
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
    assert result == {"recall_at_1": 1.0, "recall_at_5": 1.0, "ndcg_at_10": 1.0}


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
    ranked = [["a", "b", "c"], ["x", "y"]]
    result = score(ranked, [["b"], ["x", "q"]], [0.001, 0.003])
    assert result["recall_at_1"] == 0.25
    assert result["recall_at_5"] == 0.75
    assert result["ndcg_at_10"] == pytest.approx((0.6309 + 1 / 1.6309) / 2, abs=1e-3)
    assert result["p95_ms"] == pytest.approx(2.9)


@pytest.mark.django_db
def test_with_a_server_the_command_rebuilds(make_incident: MakeIncident, qdrant: FakeQdrant) -> None:
    for number in range(2):
        remember(make_incident(f"Alert{number}", f"trouble {number}"))
    lines = run("rebuild_memory")
    assert lines == ["2 of 2", "2 entries embedded and written to Qdrant, 0 wait"]
    assert len(qdrant.points()) == 2


@pytest.mark.django_db
def test_with_a_server_that_is_away_the_command_fails(
    make_incident: MakeIncident, qdrant: FakeQdrant
) -> None:
    remember(make_incident("Alert", "trouble"))
    qdrant.down = True
    with pytest.raises(CommandError, match="503"):
        run("rebuild_memory")
    assert MemoryEntry.queue.get().state == State.WAITING


@pytest.mark.django_db
def test_in_process_the_command_asks_the_running_server() -> None:
    assert run("rebuild_memory")[0].startswith("Requested")
    job = Job.queue.get()
    assert (job.name, job.state, job.requested_by) == ("rebuild_memory", State.WAITING, "manage.py")
    assert job.pk in Job.queue.take_hints()


@pytest.mark.django_db
def test_a_rebuild_that_runs_is_not_disturbed() -> None:
    run("rebuild_memory")
    Job.queue.update(state=State.RUNNING)
    assert "already" in run("rebuild_memory")[0]
    assert Job.queue.get().state == State.RUNNING
