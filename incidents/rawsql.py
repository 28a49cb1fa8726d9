"""What every delivery asks and inserts, by hand-written SQL: Django takes several times as long to write such
a statement as the database takes to answer it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

M = TypeVar("M", bound=models.Model)
Value = str | list[str] | list[int]
ROWS = 50  # of one INSERT; PostgreSQL keeps a prepared statement for each number of them
PLAIN = (str, int, bool, float, type(None))  # what a driver takes as it is


def fetch(model: type[M], where: str, *values: Value, lock: bool = False) -> list[M]:
    """Rows in the order of their keys, locked until the transaction ends if wanted.

    Each `{}` of `where` stands for a value, or for being one of a list.
    """
    database = _database()
    sql = _select(model).format(_filled(database, where, values))
    if lock and database.features.has_select_for_update:
        sql += " FOR UPDATE"
    with database.cursor() as cursor:
        cursor.execute(sql, [_parameter(database, value) for value in values])
        return _instances(database, model, cursor.fetchall())


def update(model: type[models.Model], name: str, value: Any, keys: list[int]) -> None:
    """One field of the rows with these keys."""
    database = _database()
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field)
    where = _filled(database, "id {}", [keys])
    sql = f"UPDATE {model._meta.db_table} SET {field.column} = %s WHERE {where}"  # noqa: S608 our own names
    with database.cursor() as cursor:
        cursor.execute(sql, [field.get_db_prep_save(value, database), _parameter(database, keys)])


def insert(rows: Sequence[models.Model]) -> None:
    """Rows of one model, which have their keys afterwards; what they refer to must have its own by now."""
    if not rows:
        return
    database, model = _database(), type(rows[0])
    readers = _readers(model)
    most = min(ROWS, database.ops.bulk_batch_size(_insertable(model), rows))
    with database.cursor() as cursor:
        for start in range(0, len(rows), most):
            some = rows[start : start + most]
            cursor.execute(
                _insert(model, len(some)), [read(row, database) for row in some for read in readers]
            )
            for row, (key,) in zip(some, cursor.fetchall(), strict=True):
                row.pk, row._state.adding, row._state.db = key, False, database.alias


def _database() -> BaseDatabaseWrapper:
    """Looked up once a statement: `django.db.connection` looks for it at each of its attributes."""
    return connections[DEFAULT_DB_ALIAS]


@cache
def _select(model: type[models.Model]) -> str:
    columns = ", ".join(str(field.column) for field in model._meta.concrete_fields)
    return f"SELECT {columns} FROM {model._meta.db_table} WHERE {{}} ORDER BY id"  # noqa: S608 our own names


def _instances(database: BaseDatabaseWrapper, model: type[M], rows: Sequence[tuple[Any, ...]]) -> list[M]:
    if not rows:
        return []
    names, converters = _columns(model, database.vendor)
    found = []
    for row in rows:
        values = list(row)
        for place, column, convert in converters:
            values[place] = convert(values[place], column, database)
        found.append(model.from_db(database.alias, names, values))
    return found


@cache
def _columns(model: type[models.Model], vendor: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names of the attributes, and what must be converted: place, column, function."""
    database = _database()
    assert database.vendor == vendor
    fields = model._meta.concrete_fields
    columns = [field.get_col(model._meta.db_table) for field in fields]
    converters = [
        (place, column, convert)
        for place, column in enumerate(columns)
        for convert in (*database.ops.get_db_converters(column), *column.get_db_converters(database))
    ]
    return [field.attname for field in fields], converters


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


def _filled(database: BaseDatabaseWrapper, where: str, values: Sequence[Value]) -> str:
    return where.format(*(_place(database, value) for value in values))


def _place(database: BaseDatabaseWrapper, value: Value) -> str:
    """A list is one parameter: databases take a bounded number of them, and each number is another text."""
    if isinstance(value, str):
        return "%s"
    return "= ANY(%s)" if database.vendor == "postgresql" else "IN (SELECT value FROM json_each(%s))"


def _parameter(database: BaseDatabaseWrapper, value: Value) -> Any:
    return value if isinstance(value, str) or database.vendor == "postgresql" else json.dumps(value)
