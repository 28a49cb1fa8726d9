"""What every delivery and every step asks and writes, by hand-written SQL: Django takes several times as long
to write such a statement as the database takes to answer it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

M = TypeVar("M", bound=models.Model)
Value = str | int | datetime | list[str] | list[int]
PLAIN = (str, int, bool, float, type(None))  # what a driver takes as it is


def fetch(model: type[M], where: str, *values: Value, lock: bool = False, most: int | None = None) -> list[M]:
    """Rows in the order of their keys, the first `most`, locked until the transaction ends if wanted.

    Each `{}` of `where` stands for a value, or for being one of a list.
    """
    database = database_in_use()
    sql = _select(model).format(_filled(database, where, values))
    if most is not None:
        sql += f" LIMIT {most}"
    if lock and database.features.has_select_for_update:
        sql += " FOR UPDATE"
    with database.cursor() as cursor:
        cursor.execute(sql, [_parameter(database, value) for value in values])
        return _instances(database, model, cursor.fetchall())


def rows(sql: str, *values: Value, lock: bool = False) -> list[tuple[Any, ...]]:
    """What a SELECT finds, as the driver gives it; all that it joins is locked if wanted."""
    database = database_in_use()
    filled = _filled(database, sql, values)
    if lock and database.features.has_select_for_update:
        filled += " FOR UPDATE"
    with database.cursor() as cursor:
        cursor.execute(filled, [_parameter(database, value) for value in values])
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def row(sql: str, *values: Value) -> tuple[Any, ...] | None:
    """The first row that a SELECT finds."""
    return next(iter(rows(sql, *values)), None)


def change(model: type[models.Model], fields: Mapping[str, Any], where: str, *values: Value) -> int:
    """Give the rows new values of some fields; how many rows there were. `where` as for `fetch`."""
    database = database_in_use()
    wanted = [(field_of(model, name), value) for name, value in fields.items()]
    columns = ", ".join(f"{field.column} = %s" for field, _ in wanted)
    filled = _filled(database, where, values)
    with database.cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} SET {columns} WHERE {filled}",  # noqa: S608 our own names
            [
                *(field.get_db_prep_save(_key(value), database) for field, value in wanted),
                *(_parameter(database, value) for value in values),
            ],
        )
        return int(cursor.rowcount)


def changed(model: type[M], sets: str, where: str, *values: Value) -> list[M]:
    """Rows as an UPDATE leaves them. Each `{}` of `sets` and `where` stands for a value, in that order."""
    database = database_in_use()
    columns = ", ".join(str(field.column) for field in model._meta.concrete_fields)
    filled = _filled(database, f"SET {sets} WHERE {where}", values)
    with database.cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} {filled} RETURNING {columns}",
            [_parameter(database, value) for value in values],
        )
        return _instances(database, model, cursor.fetchall())


def follow(row: models.Model, *names: str) -> None:
    """Load what a row refers to by the first name, what that refers to by the second, and so on: at once."""
    database = database_in_use()
    sql, chain = _chain(type(row), names)
    with database.cursor() as cursor:
        cursor.execute(sql, [getattr(row, chain[0].attname)])
        values = cursor.fetchone()
    for field in chain:
        if getattr(row, field.attname) is None:
            return
        width = len(field.related_model._meta.concrete_fields)
        mine, values = values[:width], values[width:]
        [related] = _instances(database, field.related_model, [mine])
        setattr(row, field.name, related)
        row = related


@cache
def _chain(
    model: type[models.Model], names: tuple[str, ...]
) -> tuple[str, list[models.ForeignKey[Any, Any]]]:
    chain: list[models.ForeignKey[Any, Any]] = []
    columns: list[str] = []
    joins = ""
    for place, name in enumerate(names):
        field = model._meta.get_field(name)
        assert isinstance(field, models.ForeignKey)
        chain.append(field)
        model = field.related_model
        columns += [f"t{place}.{each.column}" for each in model._meta.concrete_fields]
        table = f"{model._meta.db_table} t{place}"
        joins += f" LEFT JOIN {table} ON t{place}.id = t{place - 1}.{field.column}" if place else table
    return f"SELECT {', '.join(columns)} FROM {joins} WHERE t0.id = %s", chain  # noqa: S608 our own names


def _key(value: Any) -> Any:
    """What a field that refers to a row keeps of it."""
    return value.pk if isinstance(value, models.Model) else value


def field_of(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field)
    return field


def database_in_use() -> BaseDatabaseWrapper:
    """Looked up once a statement: `django.db.connection` looks for it at each of its attributes."""
    return connections[DEFAULT_DB_ALIAS]


@cache
def _select(model: type[models.Model]) -> str:
    columns = ", ".join(str(field.column) for field in model._meta.concrete_fields)
    return f"SELECT {columns} FROM {model._meta.db_table} WHERE {{}} ORDER BY {model._meta.pk.column}"  # noqa: S608 our own names


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
    database = database_in_use()
    assert database.vendor == vendor
    fields = model._meta.concrete_fields
    columns = [field.get_col(model._meta.db_table) for field in fields]
    converters = [
        (place, column, convert)
        for place, column in enumerate(columns)
        for convert in (*database.ops.get_db_converters(column), *column.get_db_converters(database))
    ]
    return [field.attname for field in fields], converters


def _filled(database: BaseDatabaseWrapper, where: str, values: Sequence[Value]) -> str:
    return where.format(*(_place(database, value) for value in values))


def _place(database: BaseDatabaseWrapper, value: Value) -> str:
    """A list is one parameter: databases take a bounded number of them, and each number is another text."""
    if not isinstance(value, list):
        return "%s"
    return "= ANY(%s)" if database.vendor == "postgresql" else "IN (SELECT value FROM json_each(%s))"


def _parameter(database: BaseDatabaseWrapper, value: Value) -> Any:
    if isinstance(value, list):
        return value if database.vendor == "postgresql" else json.dumps(value)
    return value if type(value) in PLAIN else database.ops.adapt_unknown_value(value)
