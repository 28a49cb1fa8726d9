"""Reads by hand-written SQL, for what every delivery asks: Django takes several times as long to write such a
statement as the database takes to answer it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db import connection, models

M = TypeVar("M", bound=models.Model)


def fetch(model: type[M], where: str, *values: str | list[str], lock: bool = False) -> list[M]:
    """Rows in the order of their keys, locked until the transaction ends if wanted.

    Each `{}` of `where` stands for a value, or for a list of them in brackets.
    """
    options = model._meta
    columns = ", ".join(str(field.column) for field in options.concrete_fields)
    condition = where.format(*map(_places, values))
    sql = f"SELECT {columns} FROM {options.db_table} WHERE {condition} ORDER BY id"  # noqa: S608 our own names
    if lock and connection.features.has_select_for_update:
        sql += " FOR UPDATE"
    return list(model._default_manager.raw(sql, list(_flat(values))))


def _places(value: str | list[str]) -> str:
    return "%s" if isinstance(value, str) else f"({', '.join(['%s'] * len(value))})"


def _flat(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        yield from [value] if isinstance(value, str) else value
