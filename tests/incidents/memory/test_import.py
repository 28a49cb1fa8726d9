"""import_memory: what another program left in Qdrant is taken over once, as told, and as unproven."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from incidents.memory import recall, sync
from incidents.memory.embed import MAX_CHARS
from incidents.memory.imported import read
from incidents.memory.rows import entries
from incidents.memory.scroll import Source
from incidents.models import MemoryEntry
from incidents.queue import State
from tests.incidents.memory.qdrant_server import Collection, FakeQdrant

pytestmark = pytest.mark.django_db

KEY = "the-old-servers-key"
UUID = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"
WHOLE: dict[str, Any] = {
    "incident_id": "inc-20251026-1",
    "timestamp": "2025-10-26T12:03:44.512",
    "alert_name": "TraefikHighLatency",
    "description": "95th percentile of traefik above 2 seconds",
    "severity": "warning",
    "affected_systems": ["traefik", "docker-gateway"],
    "root_cause": "incident summary: traefik was restarted because its connection pool was ex",
    "remediation_taken": "hausted. the container is healthy again, latency is back to normal",
    "resolution_status": "resolved",
    "resolution_time_seconds": 122,
    "metadata": {},
}


@pytest.fixture
def old() -> Iterator[FakeQdrant]:
    """The server of the program before this one, which wants a key."""
    with FakeQdrant(KEY).running() as server:
        server.collections["agent_memory"] = Collection(1536, "Cosine")
        yield server


@pytest.fixture
def holds(old: FakeQdrant, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`holds({id: payload, ...})`: the points of its collection, each with a vector of zeros."""
    monkeypatch.setenv("OLD_KEY", KEY)

    def put(payloads: dict[Any, Any]) -> None:
        points = {key: {"payload": payload, "vector": [0.0] * 1536} for key, payload in payloads.items()}
        old.collections["agent_memory"].points.update(points)

    return put


def run(url: str, *arguments: str) -> tuple[list[str], list[str], str]:
    """Lines of both outputs, and the error if it fails."""
    out, err, failure = StringIO(), StringIO(), ""
    given = ["--url", url, "--key-env", "OLD_KEY", *arguments]
    try:
        call_command("import_memory", *given, stdout=out, stderr=err)
    except CommandError as error:
        failure = str(error)
    return out.getvalue().splitlines(), err.getvalue().splitlines(), failure


def test_an_incident_is_taken_over_as_it_was_told_and_as_unproven(old: FakeQdrant, holds: Any) -> None:
    holds({UUID: WHOLE})
    lines, _, failure = run(old.url)
    assert failure == ""
    assert lines == [
        "1 of 1",
        "1 new, 0 changed, 0 as they were, 0 bad",
        "1 wait for the server, which embeds and indexes them while it runs.",
    ]
    row = entries().get()
    server = old.url.removeprefix("http://")
    key = f"import:{server}:agent_memory:{UUID}"
    assert (row.kind, row.key, row.title) == ("imported", key, "TraefikHighLatency")
    assert row.happened_at == datetime(2025, 10, 26, 12, 3, 44, 512000, UTC)
    assert (row.state, row.vector, row.incident) == (State.WAITING, None, None)
    assert row.payload["verdict"] is None
    assert row.payload["unproven"] is True
    assert row.payload["human_confirmed"] is False
    assert row.payload["resolution_status"] == "said to be resolved"
    assert row.payload["origin"] == {
        "server": server,
        "collection": "agent_memory",
        "point": UUID,
        "incident_id": "inc-20251026-1",
    }
    assert "cause, unproven: incident summary: traefik was restarted" in row.text
    assert "outcome, unproven: said to be resolved" in row.text


def test_it_is_recalled_and_never_called_verified(old: FakeQdrant, holds: Any) -> None:
    holds({1: WHOLE})
    run(old.url)
    assert sync(entries().get().pk)
    [found] = recall("traefik answers slowly, its latency is high", alert_name="TraefikHighLatency")
    assert found.payload["unproven"] is True
    assert not {"verified", "a person confirmed the cause", "resolved by a person"} & set(found.why)


def test_a_second_run_changes_nothing_and_says_so(old: FakeQdrant, holds: Any) -> None:
    holds({1: WHOLE, UUID: {**WHOLE, "alert_name": "PostgresDown"}})
    run(old.url)
    for pk in entries().values_list("pk", flat=True):
        assert sync(pk)
    before = list(entries().order_by("pk").values())
    assert run(old.url)[0] == ["2 of 2", "0 new, 0 changed, 2 as they were, 0 bad"]
    assert list(entries().order_by("pk").values()) == before


def test_the_same_point_of_another_server_is_another_incident(old: FakeQdrant, holds: Any) -> None:
    holds({1: WHOLE})
    run(old.url)
    with FakeQdrant(KEY).running() as second:
        point = {"payload": {**WHOLE, "alert_name": "PostgresDown"}, "vector": [0.0] * 1536}
        second.collections["agent_memory"] = Collection(1536, "Cosine", points={1: point})
        for result in ("1 new, 0 changed, 0 as they were, 0 bad", "0 new, 0 changed, 1 as they were, 0 bad"):
            assert run(second.url)[0][1] == result
    assert set(entries().values_list("title", flat=True)) == {"TraefikHighLatency", "PostgresDown"}


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://Qdrant", "qdrant:6333"),
        ("https://qdrant:443", "qdrant:443"),
        ("http://proxy:80/one", "proxy:80/one"),
    ],
)
def test_a_server_is_known_by_its_address(url: str, server: str) -> None:
    assert Source(url, "agent_memory", None).server == server


def test_a_text_of_all_fields_is_cut_at_what_is_embedded() -> None:
    fields = ("description", "root_cause", "remediation_taken", "severity", "resolution_status")
    long = dict.fromkeys(fields, "x " * 50_000)
    names = [f"{'n' * 290}{number}" for number in range(50)]
    given = read("h:1", "agent_memory", "1", {**WHOLE, **long, "affected_systems": names})
    assert len(given.text) == MAX_CHARS


def test_what_changed_there_is_embedded_anew(old: FakeQdrant, holds: Any) -> None:
    holds({1: WHOLE})
    run(old.url)
    sync(entries().get().pk)
    holds({1: {**WHOLE, "root_cause": "its certificate had expired"}})
    assert run(old.url)[0][1] == "0 new, 1 changed, 0 as they were, 0 bad"
    row = entries().get()
    assert (row.state, row.vector, row.model) == (State.WAITING, None, "")
    assert sync(row.pk)
    assert "certificate had expired" in recall("the certificate of traefik has expired")[0].text


def test_a_worker_that_embeds_the_old_text_meanwhile_writes_nothing(old: FakeQdrant, holds: Any) -> None:
    holds({1: WHOLE})
    run(old.url)
    claimed: MemoryEntry = MemoryEntry.queue.claim(entries().get().pk)
    holds({1: {**WHOLE, "description": "another text"}})
    run(old.url)
    assert claimed.finish(vector=b"\0\0\0\0") is False
    assert (entries().get().state, entries().get().vector) == (State.WAITING, None)


@pytest.mark.parametrize(
    ("given", "key", "kept"),
    [
        ({"affected_systems": "traefik, docker-gateway"}, "affected_systems", ["traefik", "docker-gateway"]),
        ({"affected_systems": '["a", "b"]'}, "affected_systems", ["a", "b"]),
        ({"affected_systems": "['a', 'b', 'a']"}, "affected_systems", ["a", "b"]),
        ({"affected_systems": None}, "affected_systems", []),
        ({"affected_systems": ""}, "affected_systems", []),
        ({"root_cause": ["one", "two"]}, "root_cause", "one\ntwo"),
        ({"root_cause": "  "}, "root_cause", None),
        ({"resolution_time_seconds": "137"}, "resolution_time_seconds", 137.0),
        ({"resolution_time_seconds": ""}, "resolution_time_seconds", None),
        ({"resolution_status": None}, "resolution_status", None),
        ({"timestamp": "2025-10-26T12:00:00+02:00"}, "timestamp", "2025-10-26T10:00:00Z"),
        ({"timestamp": 1761480000}, "timestamp", "2025-10-26T12:00:00Z"),
        ({"timestamp": ""}, "timestamp", None),
        ({"incident_id": 17}, "alert_name", "TraefikHighLatency"),
    ],
)
def test_odd_shapes_are_read(old: FakeQdrant, holds: Any, given: dict[str, Any], key: str, kept: Any) -> None:
    holds({1: {**WHOLE, **given}})
    assert run(old.url)[2] == ""
    assert entries().get().payload[key] == kept


def test_what_is_missing_is_not_known(old: FakeQdrant, holds: Any) -> None:
    holds({1: {"alert_name": "PostgresDown"}})
    run(old.url)
    row = entries().get()
    assert (row.text, row.happened_at) == ("PostgresDown", None)
    told = {"root_cause", "remediation_taken", "severity", "timestamp", "resolution_time_seconds"}
    assert {row.payload[name] for name in told} == {None}


def test_bad_points_are_named_with_their_reason_and_the_good_ones_kept(old: FakeQdrant, holds: Any) -> None:
    bad: dict[Any, Any] = {
        2: {},
        3: {**WHOLE, "alert_name": "  "},
        4: {**WHOLE, "timestamp": "yesterday"},
        5: {**WHOLE, "resolution_time_seconds": -3},
        6: {**WHOLE, "affected_systems": {"a": 1}},
        7: {**WHOLE, "timestamp": "0001-01-01T00:00:00+14:00"},
        8: None,
        UUID: {**WHOLE, "description": {"nested": True}},
    }
    holds({1: WHOLE, **bad})
    lines, errors, failure = run(old.url)
    assert lines[:2] == ["9 of 9", "1 new, 0 changed, 0 as they were, 8 bad"]
    assert failure == "left out: 8, each named above with its reason."
    named = dict(line.removeprefix("point ").split(": ", 1) for line in errors)
    assert named.keys() == {str(key) for key in bad}
    fields = [named[str(key)].split(":")[0] for key in bad]
    assert fields == [
        "alert_name",
        "alert_name",
        "timestamp",
        "resolution_time_seconds",
        "affected_systems",
        "timestamp",
        "alert_name",
        "description",
    ]
    assert entries().get().key.endswith(":agent_memory:1")


def test_secrets_in_it_are_hidden(old: FakeQdrant, holds: Any) -> None:
    holds({1: {**WHOLE, "root_cause": "login failed with password=hunter2secret", "description": "a\0b"}})
    run(old.url)
    row = entries().get()
    assert "hunter2secret" not in json.dumps(row.payload) + row.text
    assert "\0" not in row.text


def test_many_points_come_in_pages(old: FakeQdrant, holds: Any) -> None:
    holds({number: {**WHOLE, "incident_id": str(number)} for number in range(1, 452)})
    lines, _, _ = run(old.url)
    assert lines[:4] == [
        "200 of 451",
        "400 of 451",
        "451 of 451",
        "451 new, 0 changed, 0 as they were, 0 bad",
    ]
    assert entries().count() == 451
    assert [path for _, path in old.requests].count("/collections/agent_memory/points/scroll") == 3


def test_a_dry_run_writes_nothing(old: FakeQdrant, holds: Any) -> None:
    holds({1: WHOLE, 2: {}})
    lines, errors, failure = run(old.url, "--dry-run")
    assert lines == ["2 of 2", "1 would be new, 0 would be changed, 0 as they were, 1 bad"]
    assert errors[0].startswith("point 2: alert_name")
    assert failure
    assert not entries().exists()


def test_a_collection_that_is_not_there_is_said_with_those_that_are(old: FakeQdrant, holds: Any) -> None:
    _, _, failure = run(old.url, "--collection", "agent_memories")
    assert failure == f"{old.url} has no collection 'agent_memories'; it has agent_memory."


def test_a_refused_key_is_said_without_it(
    old: FakeQdrant, holds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD_KEY", "a-wrong-key")
    _, _, failure = run(old.url)
    assert failure == f"{old.url} refuses the key, or wants one (401); see --key-env."


def test_the_key_may_stand_in_a_file(
    old: FakeQdrant, holds: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    holds({1: WHOLE})
    monkeypatch.delenv("OLD_KEY")
    assert run(old.url)[2] == "--key-env: neither OLD_KEY nor OLD_KEY_FILE is set."
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("OLD_KEY_FILE", str(tmp_path / "key"))
    assert run(old.url)[2] == ""


def test_our_own_servers_key_is_sent_there_only(old: FakeQdrant, holds: Any, settings: Settings) -> None:
    holds({1: WHOLE})
    settings.QDRANT_API_KEY, settings.QDRANT_URL = KEY, "http://127.0.0.1:9"
    out = StringIO()
    with pytest.raises(CommandError, match="401"):
        call_command("import_memory", "--url", old.url, stdout=out)
    for mine in (old.url, None):
        settings.QDRANT_URL = mine
        call_command("import_memory", "--url", old.url, stdout=out)
    assert entries().count() == 1


def test_a_server_that_is_away_is_said(holds: Any) -> None:
    assert run("http://127.0.0.1:9")[2].startswith("http://127.0.0.1:9 cannot be reached: ConnectError")


def test_a_server_that_fails_is_said(old: FakeQdrant, holds: Any) -> None:
    old.down = True
    assert run(old.url)[2] == f"{old.url} answered 503: Service unavailable."


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>hello</html>"), (200, b"{}"), (404, b"nope")])
def test_what_is_no_qdrant_is_said(holds: Any, status: int, body: bytes) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        failure = run(f"http://127.0.0.1:{server.server_port}")[2]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert "does not answer as Qdrant does" in failure


@pytest.mark.parametrize("url", ["qdrant:6333", "http://", "http://h:port", "http://me:secret@h"])
def test_an_address_that_is_none_is_refused(holds: Any, url: str) -> None:
    failure = run(url)[2]
    assert failure.startswith("--url: ")
    assert "secret" not in failure
