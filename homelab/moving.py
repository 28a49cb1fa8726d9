"""Every record from the configured database to another one: whole and compared, or nothing at all.

Both sides are read through the same models, so nothing depends on how an engine keeps a time or a JSON
value. All is written in one transaction, which is kept only when both sides have the same fingerprints.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from graphlib import TopologicalSorter
from itertools import islice
from typing import Any, TypeAlias

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    DataError,
    IntegrityError,
    connections,
    transaction,
)
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model

from homelab.env import database_at

SOURCE = DEFAULT_DB_ALIAS
TARGET = "move_target"
BATCH = 200  # deliveries may have megabytes each
# `migrate` fills these by itself. The source's rows take their place, for others point at their keys.
MADE_BY_MIGRATE: tuple[type[Model], ...] = (Permission, ContentType)
MODULUS = 2**256

Row: TypeAlias = Sequence[Any]


class CannotMove(RuntimeError):
    """The message says why. The target has the tables, maybe, and no record."""


@dataclass(frozen=True)
class Fingerprint:
    """How many rows a table has, and a hash of what is in them."""

    rows: int
    digest: str


@dataclass(frozen=True)
class Comparison:
    """A table on both sides."""

    table: str
    source: Fingerprint
    target: Fingerprint

    @property
    def same(self) -> bool:
        return self.source == self.target


class Different(CannotMove):
    """What arrived is not what was sent."""

    def __init__(self, tables: list[Comparison]) -> None:
        super().__init__(f"differs: {', '.join(each.table for each in tables if not each.same)}")
        self.tables = tables


def move(url: str) -> list[Comparison]:
    """Copy every table to the database at `url`, which must hold no record yet; what was compared."""
    with connected(url):
        try:
            _check_migrated()
            _refuse_records()  # before the first change to a database that may be somebody else's
            call_command("migrate", database=TARGET, interactive=False, verbosity=0)
            models = tables()
            with _nobody_writes(models), transaction.atomic(using=TARGET):
                _refuse_records()
                _copy_all(models)
                compared = [_compare(model) for model in models]
                if not all(each.same for each in compared):
                    raise Different(compared)
        except DatabaseError as error:
            raise CannotMove(_first_line(error)) from error
    return compared


def tables() -> list[type[Model]]:
    """Every model with a table of its own, the ones that others point at first."""
    found = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.can_migrate(connections[SOURCE])
    ]
    points_at = {
        model: {
            field.related_model
            for field in model._meta.local_concrete_fields
            if field.is_relation and field.related_model not in (None, model)
        }
        for model in sorted(found, key=lambda model: model._meta.db_table)
    }
    return list(TopologicalSorter(points_at).static_order())


@contextmanager
def connected(url: str) -> Iterator[None]:
    """The target as a second database of Django's, for as long as it takes."""
    described = connections.configure_settings({SOURCE: {}, TARGET: database_at(url, "--to")})
    connections.settings[TARGET] = described[TARGET]
    try:
        yield
    finally:
        connections[TARGET].close()
        del connections[TARGET]
        del connections.settings[TARGET]
        ContentType.objects.clear_cache()


def _check_migrated() -> None:
    executor = MigrationExecutor(connections[SOURCE])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CannotMove("the database here is not up to date: first run `python3 manage.py migrate`")


def _refuse_records() -> None:
    """CannotMove when a table of ours has rows over there."""
    there = set(connections[TARGET].introspection.table_names())
    filled = [
        model._meta.db_table
        for model in tables()
        if model not in MADE_BY_MIGRATE
        and model._meta.db_table in there
        and model._base_manager.using(TARGET).exists()
    ]
    if filled:
        raise CannotMove(f"the target is not empty, it has rows in {', '.join(sorted(filled))}")


@contextmanager
def _nobody_writes(models: Iterable[type[Model]]) -> Iterator[None]:
    """One state of the source from the first row to the last comparison.

    On SQLite the transaction, which is immediate, is the lock.
    """
    here = connections[SOURCE]
    with transaction.atomic(using=SOURCE):
        if here.vendor == "postgresql":
            names = ", ".join(here.ops.quote_name(model._meta.db_table) for model in models)
            with here.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {names} IN SHARE MODE")
        yield


def _copy_all(models: list[type[Model]]) -> None:
    there = connections[TARGET]
    for model in MADE_BY_MIGRATE:
        model._base_manager.using(TARGET).all().delete()
    for model in models:
        rows = _rows(model, SOURCE)
        while batch := list(islice(rows, BATCH)):
            _insert_batch(model, batch)
    there.check_constraints()  # now, where the error names the table, not at the commit
    with there.cursor() as cursor:
        for statement in there.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)


def _fields(model: type[Model]) -> list[Any]:
    return [field for field in model._meta.local_concrete_fields if not field.generated]


def _rows(model: type[Model], alias: str) -> Iterator[Row]:
    names = [field.attname for field in _fields(model)]
    rows = model._base_manager.using(alias).order_by("pk").values_list(*names)
    return rows.iterator(chunk_size=BATCH)


def _insert_batch(model: type[Model], batch: list[Row]) -> None:
    try:
        _insert(model, batch)
    except (DataError, IntegrityError, UnicodeEncodeError):
        for row in batch:  # again, one by one, to find the one that is refused
            try:
                _insert(model, [row])
            except (DataError, IntegrityError, UnicodeEncodeError) as error:
                raise CannotMove(_refused(model, row, error)) from error


def _insert(model: type[Model], rows: list[Row]) -> None:
    """By hand: Django's own inserts set the fields that are stamped with the time of a row's change."""
    there = connections[TARGET]
    fields = _fields(model)
    quote = there.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    places = ", ".join(["%s"] * len(fields))
    values = [
        [field.get_db_prep_save(value, there) for field, value in zip(fields, row, strict=True)]
        for row in rows
    ]
    with transaction.atomic(using=TARGET), there.cursor() as cursor:
        statement = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES ({places})"  # noqa: S608
        cursor.executemany(statement, values)


def _refused(model: type[Model], row: Row, error: Exception) -> str:
    """Which row, and what is wrong with it. SQLite takes what PostgreSQL does not."""
    by_field = dict(zip(_fields(model), row, strict=True))
    wrong = [field.column for field, value in by_field.items() if not all(map(_storable, _texts(value)))]
    reason = (
        f"{', '.join(wrong)}: a NUL character or half a surrogate pair, which PostgreSQL does not store"
        if wrong
        else _first_line(error)
    )
    return f"{model._meta.db_table}, row {by_field[model._meta.pk]}: {reason}"


def _texts(value: Any) -> Iterator[str]:
    """Every string in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        for part in parts:
            yield from _texts(part)


def _storable(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _first_line(error: Exception) -> str:
    """The lines after it may quote the row."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _compare(model: type[Model]) -> Comparison:
    return Comparison(model._meta.db_table, fingerprint(model, SOURCE), fingerprint(model, TARGET))


def fingerprint(model: type[Model], alias: str) -> Fingerprint:
    """A sum of the rows' hashes: each engine sorts text keys its own way, and a sum has no order."""
    rows = total = 0
    for row in _rows(model, alias):
        text = json.dumps([canonical(value) for value in row], sort_keys=True)
        total += int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
        rows += 1
    return Fingerprint(rows, f"{total % MODULUS:064x}")


def canonical(value: Any) -> Any:
    """A value as JSON has it, the same whichever engine it was in: PostgreSQL keeps 1e2 in JSON as 100."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case Decimal():
            return format(value.normalize(), "f")
        case float():
            return int(value) if value.is_integer() else value
        case dict():
            return {key: canonical(part) for key, part in value.items()}
        case list():
            return [canonical(part) for part in value]
        case None | bool() | int() | str():
            return value
    return str(value)  # dates, times, UUIDs
