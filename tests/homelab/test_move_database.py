"""`move_database`: every record reaches a real PostgreSQL, or none does, and nothing is claimed unseen."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DataError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from agents.models import ModelCall
from homelab import alone, moving
from homelab.management.commands.move_database import without_password
from incidents.access import create_token
from incidents.models import Delivery, Event, Incident, MemoryEntry, Verdict
from tests.agents.rows import an_action
from tests.e2e.postgres import Postgres
from tests.homelab.program import ROOT, environment
from tests.incidents.rows import a_target, an_episode, an_incident

pytestmark = pytest.mark.e2e
MADE = {"django_migrations", "django_content_type", "auth_permission"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def target(server: Postgres) -> str:
    """The URL of an empty database."""
    return server.create(f"move_{uuid4().hex}")


@pytest.fixture
def command(tmp_path: Path, settings: Any) -> Callable[[str], str]:
    """`command(url)`: what it printed. Its lock is held until the process ends, so once in a test."""
    settings.DATA_DIR = tmp_path

    def run(url: str) -> str:
        out = io.StringIO()
        try:
            call_command("move_database", to=url, stdout=out)
        except CommandError as error:
            out.write(f"CommandError: {error}")
        return out.getvalue()

    return run


@pytest.fixture(autouse=True)
def _a_second_database(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's tests connect to no database that was not there when they began."""
    refusing = BaseDatabaseWrapper.ensure_connection

    def connect(self: BaseDatabaseWrapper) -> None:
        if self.alias != moving.TARGET:
            refusing(self)
        elif self.connection is None:
            with self.wrap_database_errors:
                self.connect()

    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", connect)


def ask(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as there:
        return there.execute(query).fetchall()


def rows_in(url: str) -> dict[str, int]:
    """Tables with records, not counting what `migrate` makes."""
    names = [name for (name,) in ask(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    counts = {name: ask(url, f'SELECT count(*) FROM "{name}"')[0][0] for name in names if name not in MADE}
    return {name: count for name, count in counts.items() if count}


def a_household() -> None:
    """Records of most kinds, with the values that engines keep in different ways."""
    an_action(target=a_target())
    ModelCall.objects.update(cost_usd=Decimal("0.001200"))
    first = an_incident(Verdict.VERIFIED, seconds=137.25, human_note="Größe: 5 µm, 漢字 🜚")
    again = an_incident(previous=first)
    an_episode(again, starts_at=datetime(2026, 11, 23, 4, 0, 0, 123456, tzinfo=UTC))
    numbers = {"b": [1.0, 1e22, 0.1, -0.0, 5e-324, True, None], "a": {"ä": "\u2028", "": 2**60}}
    Event.objects.create(incident=first, kind=Event.Kind.CLOSED, actor="proof", text="closed", data=numbers)
    MemoryEntry.objects.create(
        incident=first, text="disk", content_hash="0" * 64, model="m", vector=bytes(range(256)) * 6
    )
    Delivery.objects.create(source="alertmanager", body=b"\x00\xff not text", alerts=0)
    create_token(name="ingest", role="ingest")
    robin = User.objects.create_user("robin", password="only for tests", is_staff=True)
    readers = Group.objects.create(name="readers")
    readers.permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    robin.groups.add(readers)


def test_every_record_arrives(command: Callable[[str], str], target: str) -> None:
    a_household()
    printed = command(target)
    assert "DIFFERENT" not in printed
    assert f"{'incidents_incident':36} {3:>9} {3:>9}" in printed
    here = {model._meta.db_table: model._base_manager.count() for model in moving.tables()}
    assert rows_in(target) == {name: count for name, count in here.items() if count and name not in MADE}
    assert ask(target, "SELECT vector FROM incidents_memoryentry") == [(bytes(range(256)) * 6,)]
    kept = ask(target, "SELECT id, human_note, previous_id, opened_at FROM incidents_incident ORDER BY id")
    rows = Incident.objects.order_by("id").values_list("id", "human_note", "previous_id", "opened_at")
    assert kept == list(rows)


def test_what_is_stamped_at_a_change_keeps_its_time(target: str) -> None:
    token, _ = create_token(name="old", role="viewer")
    moving.move(target)
    assert ask(target, "SELECT created_at FROM incidents_token") == [(token.created_at,)]


def test_rights_are_on_the_same_things(target: str) -> None:
    """`migrate` numbers content types and permissions anew; others point at the source's numbers."""
    ContentType.objects.create(app_label="gone", model="shifts the numbers")
    a_household()
    moving.move(target)
    query = """
        SELECT model, codename FROM auth_group_permissions
        JOIN auth_permission ON auth_permission.id = permission_id
        JOIN django_content_type ON django_content_type.id = content_type_id ORDER BY 1, 2
    """
    readers = Group.objects.get().permissions.order_by("content_type__model", "codename")
    assert ask(target, query) == list(readers.values_list("content_type__model", "codename"))


def test_the_next_row_gets_the_next_number(target: str) -> None:
    a_household()
    moving.move(target)
    with moving.connected(target):
        there = Incident.objects.using(moving.TARGET)
        again = there.latest("id")
        last, again.pk = again.pk, None
        again.save(force_insert=True)
        assert again.pk == last + 1
        through = User.groups.through.objects.using(moving.TARGET)
        last = User.groups.through.objects.get().pk
        assert through.create(user_id=User.objects.get().pk, group_id=an_empty_group()).pk == last + 1


def an_empty_group() -> int:
    return Group.objects.using(moving.TARGET).create(name="another").pk


def test_it_says_what_to_put_into_dotenv_and_never_the_password(
    command: Callable[[str], str], target: str, server: Postgres
) -> None:
    printed = command(target)
    assert f"DATABASE_URL=postgres://homelab:***@127.0.0.1:{server.port}/move_" in printed
    assert server.password not in printed


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////srv/homelab.sqlite3", "sqlite:////srv/homelab.sqlite3"),
        ("postgres://db/homelab", "postgres://db/homelab"),
        ("postgres://robin:s%40crt@db/x", "postgres://robin:***@db/x"),
        ("postgres://db/x?sslpassword=s&user=robin", "postgres://db/x?sslpassword=***&user=robin"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize("url", ["postgres://robin:s3cr/t@db/x", "mysql://robin:s3cr@db/x", "s3cr"])
def test_a_wrong_url_is_told_without_its_password(command: Callable[[str], str], url: str) -> None:
    printed = command(url)
    assert "--to: wants" in printed
    assert "s3cr" not in printed


def test_a_database_that_does_not_answer_is_named(command: Callable[[str], str], server: Postgres) -> None:
    printed = command(server.url_of("nowhere"))
    assert 'database "nowhere" does not exist' in printed
    assert server.password not in printed


def test_a_running_server_is_not_left_behind(
    command: Callable[[str], str], target: str, tmp_path: Path
) -> None:
    assert alone.take(tmp_path)
    assert "stop it first" in command(target)
    assert ask(target, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_target_with_records_is_refused_and_left_as_it_is(
    command: Callable[[str], str], target: str
) -> None:
    an_incident()
    moving.move(target)
    before = rows_in(target)
    an_incident()
    assert "the target is not empty, it has rows in incidents_incident" in command(target)
    assert rows_in(target) == before


def test_an_interrupted_copy_leaves_nothing_and_can_be_repeated(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_household()
    with monkeypatch.context() as patch:
        patch.setattr(moving, "fingerprint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            moving.move(target)
    assert rows_in(target) == {}
    assert all(each.same for each in moving.move(target))


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_difference_is_shown_and_nothing_is_kept(command: Callable[[str], str], target: str) -> None:
    a_household()
    with moving.connected(target):
        call_command("migrate", database=moving.TARGET, verbosity=0)
    with psycopg.connect(target) as there:
        there.execute("""
            CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.text := upper(NEW.text); RETURN NEW; END $$;
            CREATE TRIGGER shout BEFORE INSERT ON incidents_event FOR EACH ROW EXECUTE FUNCTION shout();
        """)
    printed = command(target)
    assert [line.split()[0] for line in printed.splitlines() if "DIFFERENT" in line] == ["incidents_event"]
    assert "CommandError: differs: incidents_event. Nothing was kept." in printed
    assert rows_in(target) == {}


SUSPECTS: dict[str, tuple[dict[str, Any], str]] = {
    "NUL in a text": ({"text": "a\x00b"}, "text: a NUL character"),
    "NUL in JSON": ({"data": {"logs": ["fine", {"a\x00b": 1}]}}, "data: a NUL character"),
    "half a character in JSON": ({"data": {"log": "\ud800"}}, "data: a NUL character or half a surrogate"),
    "a text that is too long": ({"actor": "x" * 151}, "value too long for type character varying(150)"),
}


@pytest.mark.parametrize("name", SUSPECTS)
def test_a_row_that_postgresql_refuses_is_named(name: str, target: str) -> None:
    fields, reason = SUSPECTS[name]
    row = {"kind": Event.Kind.PROOF, "actor": "proof", "text": "fine"}
    Event.objects.bulk_create(Event(**row) for _ in range(3))
    if connection.vendor == "postgresql":  # then it is the source too, and has no such row
        with pytest.raises(DataError), transaction.atomic():
            Event.objects.create(**{**row, **fields})
        return
    bad = Event.objects.create(**{**row, **fields})
    with pytest.raises(moving.CannotMove) as refused:
        moving.move(target)
    assert str(refused.value).startswith(f"incidents_event, row {bad.pk}: {reason}")
    assert rows_in(target) == {}


def test_one_form_for_what_engines_keep_differently() -> None:
    east = timezone(timedelta(hours=9))
    assert moving.canonical(datetime(2026, 11, 23, 13, tzinfo=east)) == "2026-11-23T04:00:00.000000+00:00"
    assert moving.canonical(memoryview(b"\x00\xff")) == moving.canonical(b"\x00\xff") == "00ff"
    assert moving.canonical(Decimal("0.0012")) == moving.canonical(Decimal("0.001200")) == "0.0012"
    assert json.dumps(moving.canonical([1e22, -0.0, True])) == json.dumps([10**22, 0, True])


def manage(data: Path, *arguments: str, **variables: str) -> str:
    """A command in a process of its own; what it printed."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(data, 0, **variables),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_and_back_again(tmp_path: Path, target: str) -> None:
    """As people do it: a file of SQLite, a database of PostgreSQL, and a second file."""
    token = (7, "nas", "ingest", "alertmanager", "0" * 64)
    columns = "id, name, role, source, digest"
    manage(tmp_path, "migrate")
    with closing(sqlite3.connect(tmp_path / "homelab.sqlite3")) as first, first:
        values = f"VALUES {(*token, '2026-11-23 04:00:00')}"
        first.execute(f"INSERT INTO incidents_token ({columns}, created_at) {values}")
    manage(tmp_path, "move_database", "--to", target)
    assert ask(target, f"SELECT {columns} FROM incidents_token") == [token]
    back = f"sqlite:///{tmp_path / 'second.sqlite3'}"
    assert f"DATABASE_URL={back}\n" in manage(tmp_path, "move_database", "--to", back, DATABASE_URL=target)
    with closing(sqlite3.connect(tmp_path / "second.sqlite3")) as second:
        assert second.execute(f"SELECT {columns} FROM incidents_token").fetchall() == [token]
