"""Inserts by hand: as `rawsql`, and of many rows or several models at once.

PostgreSQL gets the rows as one JSON document, so any number of them is the same statement, prepared once.
With a parameter for each value, psycopg reads a statement of more than 50 anew at each call and converts them
one by one: it took a quarter more of a delivery's time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from incidents.rawsql import PLAIN, database_in_use, field_of

ROWS = 50  # of one INSERT with a parameter a value
Rows = Sequence[models.Model]


def insert(rows: Rows) -> None:
    """Rows of one model, which have their keys afterwards; what they refer to must have its own by now."""
    if not rows:
        return
    database, model = database_in_use(), type(rows[0])
    if _fits_a_document(database, model):
        keys = _insert_document(database, [rows])
    else:
        keys = _insert_values(database, model, rows)
    for row, key in zip(rows, keys, strict=True):
        row.pk, row._state.adding, row._state.db = key, False, database.alias


def insert_all(*several: Rows) -> None:
    """Rows of several models that do not refer to each other, in this order; their keys are not read."""
    database = database_in_use()
    some = [rows for rows in several if rows]
    if some and all(_fits_a_document(database, type(rows[0])) for rows in some):
        _insert_document(database, some)
        return
    for rows in some:
        insert(rows)


def append(row: models.Model, *within: str) -> None:
    """Insert a row with the next `number` of those that have the same values of some fields.

    For who has locked what they belong to, so that nobody else appends to them.
    """
    database = database_in_use()
    statement, readers = _append(type(row), within)
    with database.cursor() as cursor:
        cursor.execute(statement, [read(row, database) for read in readers])
        row.pk, number = cursor.fetchone()
    row.number = number  # type: ignore[attr-defined]  # whose rows are not numbered has no use for this
    row._state.adding, row._state.db = False, database.alias


def put(rows: Sequence[models.Model], unless: str) -> list[int]:
    """Insert a few rows of one model; `unless` is the ON CONFLICT. The keys of those that were written."""
    database, model = database_in_use(), type(rows[0])
    statement = _insert(model, len(rows)).replace(" RETURNING id", f" {unless} RETURNING id")
    with database.cursor() as cursor:
        cursor.execute(statement, [read(row, database) for row in rows for read in _readers(model)])
        return [key for (key,) in cursor.fetchall()]


def _insert_values(database: BaseDatabaseWrapper, model: type[models.Model], rows: Rows) -> list[int]:
    """A parameter a value; the keys in the rows' order."""
    readers, keys = _readers(model), []
    most = min(ROWS, database.ops.bulk_batch_size(_insertable(model), rows))
    with database.cursor() as cursor:
        for start in range(0, len(rows), most):
            some = rows[start : start + most]
            values = [read(row, database) for row in some for read in readers]
            cursor.execute(_insert(model, len(some)), values)
            keys += [key for (key,) in cursor.fetchall()]
    return keys


def _fits_a_document(database: BaseDatabaseWrapper, model: type[models.Model]) -> bool:
    return database.vendor == "postgresql" and not _has_bytes(model)


@cache
def _has_bytes(model: type[models.Model]) -> bool:
    return any(isinstance(field, models.BinaryField) for field in _insertable(model))


def _insert_document(database: BaseDatabaseWrapper, several: Sequence[Rows]) -> list[int]:
    """All as one parameter; the keys of the last model's rows, in their order."""
    kinds = tuple(type(rows[0]) for rows in several)
    document = [
        [[read(row) for read in _writers(kind)] for row in rows]
        for kind, rows in zip(kinds, several, strict=True)
    ]
    with database.cursor() as cursor:
        cursor.execute(_insert_documents(kinds), [json.dumps(document)])
        return [key for (key,) in cursor.fetchall()]


@cache
def _insert_documents(kinds: tuple[type[models.Model], ...]) -> str:
    *others, last = (_insert_elements(kind, place) for place, kind in enumerate(kinds))
    first = "".join(f", kind{place} AS ({insert})" for place, insert in enumerate(others))
    return f"WITH document AS (SELECT %s::jsonb AS kinds){first} {last} RETURNING id"


def _insert_elements(model: type[models.Model], place: int) -> str:
    fields = _insertable(model)
    into = f"{model._meta.db_table} ({', '.join(str(field.column) for field in fields)})"
    values = ", ".join(_element(field, number) for number, field in enumerate(fields))
    elements = f"jsonb_array_elements((SELECT kinds->{place} FROM document)) AS element"  # noqa: S608 our own names
    return f"INSERT INTO {into} SELECT {values} FROM {elements}"  # noqa: S608 our own names


def _element(field: models.Field[Any, Any], number: int) -> str:
    """A column's value. Text is cast to no length: that would cut what an insert refuses."""
    if isinstance(field, models.JSONField):
        value = f"element->{number}"
        return f"NULLIF({value}, 'null')" if field.null else value
    if isinstance(field, models.CharField | models.TextField):
        return f"element->>{number}"
    kind = field.rel_db_type(database_in_use()) if field.is_relation else field.db_type(database_in_use())
    return f"(element->>{number})::{kind}"


@cache
def _writers(model: type[models.Model]) -> list[Callable[[Any], Any]]:
    """For each column what reads its value of a row, as JSON has it."""
    return [_writer(field) for field in _insertable(model)]


def _writer(field: models.Field[Any, Any]) -> Callable[[Any], Any]:
    name = field.attname
    if isinstance(field, models.ForeignKey):
        return lambda row: _key_of(row, field)
    if isinstance(field, models.DateField | models.TimeField):

        def moment(row: Any) -> str | None:
            value = field.pre_save(row, add=True)
            return None if value is None else str(value.isoformat())

        return moment
    if isinstance(field, models.DecimalField):
        return lambda row: None if getattr(row, name) is None else str(getattr(row, name))
    return lambda row: getattr(row, name)


@cache
def _append(
    model: type[models.Model], within: tuple[str, ...]
) -> tuple[str, list[Callable[[Any, BaseDatabaseWrapper], Any]]]:
    table, fields = model._meta.db_table, _insertable(model)
    readers = {field.name: [read] for field, read in zip(fields, _readers(model), strict=True)}
    readers["number"] = [readers[name][0] for name in within]
    same = " AND ".join(f"{field_of(model, name).column} = %s" for name in within)
    number = f"(SELECT COALESCE(MAX(number), 0) + 1 FROM {table} WHERE {same})"  # noqa: S608 our own names
    places = ", ".join(number if field.name == "number" else "%s" for field in fields)
    into = f"{table} ({', '.join(str(field.column) for field in fields)})"
    statement = f"INSERT INTO {into} VALUES ({places}) RETURNING id, number"  # noqa: S608 our own names
    return statement, [read for field in fields for read in readers[field.name]]


@cache
def _insertable(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    return [field for field in model._meta.concrete_fields if not field.primary_key]


@cache
def _insert(model: type[models.Model], count: int) -> str:
    columns = [str(field.column) for field in _insertable(model)]
    places = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * count)
    into = f"{model._meta.db_table} ({', '.join(columns)})"
    return f"INSERT INTO {into} VALUES {places} RETURNING id"  # noqa: S608 our own names


@cache
def _readers(model: type[models.Model]) -> list[Callable[[Any, BaseDatabaseWrapper], Any]]:
    """For each column what reads its value of a row, as the driver wants it."""
    return [_reader(field) for field in _insertable(model)]


def _reader(field: models.Field[Any, Any]) -> Callable[[Any, BaseDatabaseWrapper], Any]:
    name = field.attname
    if isinstance(field, models.ForeignKey):
        return lambda row, _database: _key_of(row, field)
    if isinstance(field, models.CharField | models.TextField | models.IntegerField | models.BooleanField):

        def plain(row: Any, database: BaseDatabaseWrapper) -> Any:
            value = getattr(row, name)
            return value if type(value) in PLAIN else field.get_db_prep_save(value, database)

        return plain
    return lambda row, database: field.get_db_prep_save(field.pre_save(row, add=True), database)


def _key_of(row: models.Model, field: models.ForeignKey[Any, Any]) -> Any:
    if field.is_cached(row):
        related = field.get_cached_value(row)
        setattr(row, field.attname, related and related.pk)  # it may have been inserted after it was named
    return getattr(row, field.attname)
