"""What every delivery asks and inserts, by hand-written SQL: Django takes several times as long to write such
a statement as the database takes to answer it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import connection, models

M = TypeVar("M", bound=models.Model)
ROWS = 50  # of one INSERT; PostgreSQL keeps a prepared statement for each number of them


def fetch(model: type[M], where: str, *values: str | list[str], lock: bool = False) -> list[M]:
    """Rows in the order of their keys, locked until the transaction ends if wanted.

    Each `{}` of `where` stands for a value, or for being one of a list.
    """
    sql = _select(model).format(where.format(*map(_place, values)))
    if lock and connection.features.has_select_for_update:
        sql += " FOR UPDATE"
    with connection.cursor() as cursor:
        cursor.execute(sql, [_parameter(value) for value in values])
        return _instances(model, cursor.fetchall())


@cache
def _select(model: type[models.Model]) -> str:
    columns = ", ".join(str(field.column) for field in model._meta.concrete_fields)
    return f"SELECT {columns} FROM {model._meta.db_table} WHERE {{}} ORDER BY id"  # noqa: S608 our own names


def _instances(model: type[M], rows: Sequence[tuple[Any, ...]]) -> list[M]:
    if not rows:
        return []
    fields = model._meta.concrete_fields
    columns = [field.get_col(model._meta.db_table) for field in fields]
    converters = [
        (place, column, convert)
        for place, column in enumerate(columns)
        for convert in (*connection.ops.get_db_converters(column), *column.get_db_converters(connection))
    ]
    return [_instance(model, [field.attname for field in fields], list(row), converters) for row in rows]


def _instance(model: type[M], names: list[str], values: list[Any], converters: list[tuple[Any, ...]]) -> M:
    for place, column, convert in converters:
        values[place] = convert(values[place], column, connection)
    return model.from_db(connection.alias, names, values)


def insert(rows: Sequence[models.Model]) -> None:
    """Rows of one model, which have their keys afterwards; what they refer to must have its own by now."""
    if not rows:
        return
    fields = _insertable(type(rows[0]))
    most = min(ROWS, connection.ops.bulk_batch_size(fields, rows))
    with connection.cursor() as cursor:
        for start in range(0, len(rows), most):
            some = rows[start : start + most]
            values = [_value(row, field) for row in some for field in fields]
            cursor.execute(_insert(type(rows[0]), len(some)), values)
            for row, (key,) in zip(some, cursor.fetchall(), strict=True):
                row.pk, row._state.adding, row._state.db = key, False, connection.alias


@cache
def _insertable(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    return [field for field in model._meta.concrete_fields if not field.primary_key]


@cache
def _insert(model: type[models.Model], count: int) -> str:
    columns = [str(field.column) for field in _insertable(model)]
    places = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * count)
    into = f"{model._meta.db_table} ({', '.join(columns)})"
    return f"INSERT INTO {into} VALUES {places} RETURNING id"  # noqa: S608 our own names


def _value(row: models.Model, field: models.Field[Any, Any]) -> Any:
    if isinstance(field, models.ForeignKey) and field.is_cached(row):
        related = field.get_cached_value(row)
        setattr(row, field.attname, related and related.pk)  # it may have been inserted after it was named
    return field.get_db_prep_save(field.pre_save(row, add=True), connection)


def _place(value: str | list[str]) -> str:
    """A list is one parameter: databases take a bounded number of them, and each number is another text."""
    if isinstance(value, str):
        return "%s"
    return "= ANY(%s)" if connection.vendor == "postgresql" else "IN (SELECT value FROM json_each(%s))"


def _parameter(value: str | list[str]) -> Any:
    return value if isinstance(value, str) or connection.vendor == "postgresql" else json.dumps(value)
