"""A folder of runbooks: read, kept up with, and found for an alert."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from incidents import jobs
from incidents.memory import MemoryUnavailable, bookshelf, find_runbooks, folder, recall, sync
from incidents.memory.bookshelf import JOB, run
from incidents.memory.embed import MAX_CHARS
from incidents.memory.index import SHELVES, Found, get_index
from incidents.memory.rows import entries
from incidents.memory.runbooks import BY_NAME, BY_TEXT, BY_URL
from incidents.models import Job
from incidents.queue import State
from tests.incidents.memory.qdrant_server import FakeQdrant

pytestmark = pytest.mark.django_db

LONG = "More words that say little and make the document a long one. " * 40
BOOKS = {
    "docker/container-down.md": f"""---
title: A container is down
url: https://wiki.lan/container-down
---
## Meaning
The container stopped, and its service answers nobody. {LONG}
## Mitigation
Look at its last log lines, then start it again.
""",
    "storage/DiskFilling.md": "# DiskFilling\nThe filesystem of the NAS runs out of space: delete snapshots.",
    "README.md": "# Our runbooks\nWhere to write what you learned about the house.",
    "network/dns/index.md": "---\nalerts: [ResolverSilent]\n---\nRestart unbound when no name is resolved.",
}


@pytest.fixture
def where(tmp_path: Path, settings: Settings) -> Path:
    settings.RUNBOOKS_DIR = tmp_path / "books"
    for name, text in BOOKS.items():
        write(settings.RUNBOOKS_DIR, name, text)
    return tmp_path / "books"


def write(where: Path, name: str, text: str | bytes) -> None:
    path = where / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def work() -> dict[str, Any]:
    """The job as the server runs it, and all that waits embedded; its result."""
    job, _ = Job.objects.get_or_create(name=JOB)
    result = run(lambda: None)
    Job.objects.filter(pk=job.pk).update(result=result)
    for pk in entries("runbooks").filter(state=State.WAITING).values_list("pk", flat=True):
        assert sync(pk)
    return jobs.last_result(JOB)


def keys() -> set[str]:
    return set(entries("runbooks").values_list("key", flat=True))


def test_each_section_is_an_entry_that_knows_where_it_stands(where: Path) -> None:
    result = work()
    assert (result["files"], result["sections"], result["new"], result["skipped"]) == (4, 5, 5, [])
    assert keys() == {
        "runbook:docker/container-down.md#meaning",
        "runbook:docker/container-down.md#mitigation",
        "runbook:storage/DiskFilling.md#diskfilling",
        "runbook:README.md#our-runbooks",
        "runbook:network/dns/index.md#",
    }
    row = entries().get(key="runbook:docker/container-down.md#mitigation")
    assert row.title == "A container is down"
    assert row.text.startswith("A container is down > Mitigation\nLook at its last log lines")
    assert row.payload["heading"] == "A container is down > Mitigation"
    assert row.payload["url"] == "https://wiki.lan/container-down"
    assert bookshelf.counts() == (5, 0)


def test_nothing_is_read_while_no_file_changed(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = work()
    monkeypatch.setattr(folder, "read", None)
    assert work() == before


def test_what_changed_is_embedded_anew_and_nothing_else(where: Path) -> None:
    work()
    stamps = dict(entries("runbooks").values_list("key", "updated_at"))
    text = BOOKS["docker/container-down.md"].replace("start it again", "ask who stopped it")
    write(where, "docker/container-down.md", text)
    result = work()
    assert (result["new"], result["changed"], result["removed"]) == (0, 1, 0)
    after = dict(entries("runbooks").values_list("key", "updated_at"))
    assert {key for key in after if after[key] != stamps[key]} == {
        "runbook:docker/container-down.md#mitigation"
    }
    assert "ask who stopped it" in find_runbooks("who stopped it, says its log")[0].text


def test_a_section_that_vanished_is_found_no_more(where: Path) -> None:
    work()
    assert find_runbooks("the filesystem of the NAS runs out of space")[0].path == "storage/DiskFilling.md"
    (where / "storage/DiskFilling.md").unlink()
    write(where, "docker/container-down.md", "# A container is down\n## Meaning\nIt stopped.")
    result = work()
    assert result["removed"] == 2
    assert "runbook:docker/container-down.md#mitigation" not in keys()
    assert len(get_index("runbooks")) == 3
    assert find_runbooks("", alert_name="DiskFilling") == []


def test_an_entry_that_was_deleted_comes_back(where: Path) -> None:
    work()
    entries("runbooks").filter(key="runbook:README.md#our-runbooks").delete()
    assert work()["new"] == 1


def test_a_folder_that_is_away_keeps_what_is_known_and_says_so(where: Path) -> None:
    work()
    where.rename(where.parent / "elsewhere")
    assert "cannot be read" in work()["error"]
    assert len(keys()) == 5
    (where.parent / "elsewhere").rename(where)
    assert "error" not in work()


def test_without_a_folder_all_runbooks_go(where: Path, settings: Settings) -> None:
    work()
    settings.RUNBOOKS_DIR = None
    assert run(lambda: None) == {"removed": 5}
    assert not keys()


def test_secrets_in_a_runbook_are_hidden(where: Path) -> None:
    write(where, "login.md", "# Login\nRun `psql postgres://admin:hunter2secret@db/x` to look.")
    work()
    row = entries().get(key="runbook:login.md#login")
    assert "hunter2secret" not in row.text
    assert "[redacted]" in row.text


@pytest.mark.parametrize("front", ["reviewed: !!timestamp soon", "<<: &a [*a]", 'title: "\\0\\ud800"'])
def test_an_odd_front_matter_keeps_no_other_runbook_back(where: Path, front: str) -> None:
    work()
    write(where, "odd.md", f"---\n{front}\n---\n# Odd\nits text is read all the same")
    write(where, "README.md", "# Our runbooks\nNew advice.")
    result = work()
    assert (result["new"], result["changed"]) == (1, 1)
    assert "New advice." in entries().get(key="runbook:README.md#our-runbooks").text
    assert "its text is read" in entries().get(key="runbook:odd.md#odd").text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("latin.md", "# Gerät".encode("latin-1"), "is not UTF-8"),
        ("binary.md", b"# a\0b", "is no text"),
        ("huge.md", b"x" * (folder.MAX_BYTES + 1), f"is larger than {folder.MAX_BYTES} bytes"),
        ("front.md", b"---\n{[\n---\n# T\nx", "its front matter is no plain YAML"),
    ],
)
def test_what_is_no_runbook_is_said(where: Path, name: str, content: bytes, reason: str) -> None:
    write(where, f"odd/{name}", content)
    assert work()["skipped"] == [f"odd/{name}: {reason}"]


def test_nothing_outside_the_folder_is_read(where: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    write(tmp_path / "outside", "secret.md", "# Secret\nnot yours")
    (where / "link.md").symlink_to(tmp_path / "outside/secret.md")
    (where / "folder").symlink_to(tmp_path / "outside")
    (where / "circle.md").symlink_to(where / "circle.md")
    os.mkfifo(where / "pipe.md")
    (where / "inside.md").symlink_to(where / "README.md")
    write(where, ".git/hidden.md", "# Hidden")
    write(where, "notes.txt", "no Markdown")
    result = work()
    said = dict(each.split(": ", 1) for each in result["skipped"])
    assert said.keys() == {"circle.md", "folder", "link.md", "pipe.md"}
    assert said["link.md"] == "is a link out of the folder"
    assert said["pipe.md"] == "is no file"
    assert "runbook:inside.md#our-runbooks" in keys()
    assert result["files"] == 5


def put_link(path: Path, target: Path) -> None:
    path.rename(path.with_name("moved away"))
    path.symlink_to(target)


def put_pipe(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_folder(path: Path, target: Path) -> None:
    put_link(path.parent, target.parent)


@pytest.mark.parametrize("put", [put_link, put_pipe, put_folder])
def test_a_file_that_becomes_another_thing_while_it_is_read_is_not_read(
    where: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Path, Path], None]
) -> None:
    path, secret = where / "storage/DiskFilling.md", tmp_path / "outside/DiskFilling.md"
    write(tmp_path, "outside/DiskFilling.md", "# Secret\nnot yours")
    real = folder._checked

    def checked(*given: Any) -> Any:
        found = real(*given)
        put(path, secret)
        return found

    monkeypatch.setattr(folder, "_checked", checked)
    assert isinstance(folder.read(where, "storage/DiskFilling.md"), folder.Skipped)


def test_a_file_that_became_a_link_since_the_look_is_not_read(where: Path, tmp_path: Path) -> None:
    write(tmp_path, "secret.md", "# Secret\nnot yours")
    assert "README.md" in folder.look(where).paths
    put_link(where / "README.md", tmp_path / "secret.md")
    assert folder.read(where, "README.md") == folder.Skipped("README.md", "is a link out of the folder")


def test_a_file_that_cannot_be_read_now_keeps_its_sections(
    where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work()
    real = folder.read

    def denied(at: Path, path: str) -> Any:
        if path.startswith("docker/"):
            return folder.Skipped(path, "cannot be read: Permission denied", unknown=True)
        return real(at, path)

    monkeypatch.setattr(folder, "read", denied)
    (where / "README.md").unlink()
    result = work()
    assert result["skipped"] == ["docker/container-down.md: cannot be read: Permission denied"]
    assert result["removed"] == 1
    assert "runbook:docker/container-down.md#meaning" in keys()


def test_a_path_too_long_for_a_key_has_a_key_all_the_same(where: Path) -> None:
    for last in ("a", "b"):
        write(where, f"{'x' * 200}/{'y' * 200}/{last}.md", f"# Long\n{last}")
    work()
    assert max(map(len, keys())) == 300
    assert len(keys()) == 7
    assert work()["sections"] == 7


URL = "https://github.com/me/books/blob/main"


@pytest.mark.parametrize(
    ("asked", "path", "why"),
    [
        ({"alert_name": "ContainerDown"}, "docker/container-down.md", BY_NAME),
        ({"alert_name": "ResolverSilent"}, "network/dns/index.md", BY_NAME),
        ({"runbook_url": f"{URL}/storage/DiskFilling.md"}, "storage/DiskFilling.md", BY_URL),
        ({"runbook_url": "https://books.lan/diskfilling/"}, "storage/DiskFilling.md", BY_URL),
        ({"runbook_url": "https://books.lan/dns.html?v=2"}, "network/dns/index.md", BY_URL),
        (
            {"alert_name": "DiskFilling", "runbook_url": f"{URL}/container-down.md"},
            "docker/container-down.md",
            BY_URL,
        ),
    ],
)
def test_what_the_alert_names_is_the_best_hit(
    where: Path, asked: dict[str, Any], path: str, why: str
) -> None:
    work()
    best = find_runbooks("the filesystem of the NAS is full", **asked)[0]
    assert (best.path, best.why, best.score) == (path, why, 1.0)


def test_the_link_may_name_the_section(where: Path) -> None:
    work()
    for anchor in ("mitigation", "meaning"):
        best = find_runbooks("nothing", runbook_url=f"{URL}/docker/container-down.md#{anchor}")[0]
        assert best.heading.lower().endswith(anchor)


def test_of_two_files_of_one_name_the_link_means_that_in_its_folder(where: Path) -> None:
    for name in ("a/restart.md", "b/restart.md", "c/restart.md"):
        write(where, name, "# Restart\nSwitch it off and on.")
    work()
    assert find_runbooks("x", runbook_url=f"{URL}/b/restart.md")[0].path == "b/restart.md"


@pytest.mark.parametrize("url", ["http://[", "", "javascript:alert(1)", "https://h/", "%", "../etc/passwd"])
def test_a_link_that_names_nothing_names_nothing(where: Path, url: str) -> None:
    work()
    assert find_runbooks("zebra quasar mango", runbook_url=url) == []


def test_by_its_text_alone(where: Path) -> None:
    work()
    best = find_runbooks("the filesystem of the NAS runs out of space")[0]
    assert (best.path, best.why) == ("storage/DiskFilling.md", BY_TEXT)


def test_what_fits_no_runbook_finds_none(where: Path) -> None:
    work()
    assert find_runbooks("the postgres replica lags behind its primary", alert_name="ReplicationLag") == []


def test_incidents_and_runbooks_are_apart(where: Path) -> None:
    work()
    assert recall("the filesystem of the NAS runs out of space", alert_name="DiskFilling") == []


def test_by_name_also_while_nothing_can_be_searched(
    where: Path, qdrant: FakeQdrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    work()

    def away(*_: Any, **__: Any) -> None:
        raise MemoryUnavailable("away", retryable=True)

    monkeypatch.setattr(type(get_index("runbooks")), "search", away)
    assert find_runbooks("x", alert_name="ContainerDown")[0].path == "docker/container-down.md"
    with pytest.raises(MemoryUnavailable):
        find_runbooks("x", alert_name="Unknown")


def test_many_runbooks_go_in_batches_and_each_renews_the_lease(
    where: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, qdrant: FakeQdrant
) -> None:
    work()
    monkeypatch.setattr(bookshelf, "BATCH", 2)
    qdrant.requests.clear()
    renewed: list[None] = []
    settings.RUNBOOKS_DIR = None
    assert run(lambda: renewed.append(None)) == {"removed": 5}
    deletions = [path for _, path in qdrant.requests if path.endswith("points/delete")]
    assert (len(deletions), len(renewed)) == (3, 3)
    assert get_index("runbooks").store.count() == 0


def test_a_server_that_is_away_is_asked_once_when_runbooks_go(
    where: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, qdrant: FakeQdrant
) -> None:
    work()
    monkeypatch.setattr(bookshelf, "BATCH", 2)
    asked: list[tuple[int, ...]] = []

    def away(*keys: int) -> None:
        asked.append(keys)
        raise MemoryUnavailable("away", retryable=True)

    monkeypatch.setattr(get_index("runbooks").store, "delete", away)
    settings.RUNBOOKS_DIR = None
    assert run(lambda: None) == {"removed": 5}
    assert not keys()
    assert [len(each) for each in asked] == [2]


def test_a_long_query_is_cut_at_what_is_embedded(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work()
    seen: list[str] = []

    def search(query: str, **_: Any) -> Found:
        seen.append(query)
        return Found([], None)

    for shelf in SHELVES:
        monkeypatch.setattr(get_index(shelf), "search", search)
    find_runbooks("full " * MAX_CHARS)
    recall("full " * MAX_CHARS)
    assert [len(query) for query in seen] == [MAX_CHARS, MAX_CHARS]


def test_on_a_server_they_have_a_collection_of_their_own(where: Path, qdrant: FakeQdrant) -> None:
    work()
    assert find_runbooks("the filesystem of the NAS runs out of space")[0].path == "storage/DiskFilling.md"
    (where / "storage/DiskFilling.md").unlink()
    work()
    assert find_runbooks("the filesystem of the NAS runs out of space") == []
