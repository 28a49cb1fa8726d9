"""The years, months and days above a list, without a look at its rows."""

from __future__ import annotations

from calendar import month_name, monthrange
from collections.abc import Iterator
from datetime import date
from itertools import takewhile
from typing import Any

from django import template
from django.contrib.admin.views.main import ChangeList
from django.db.models import Max, Min
from django.utils import timezone

register = template.Library()
PARTS = ("year", "month", "day")


@register.inclusion_tag("admin/date_hierarchy.html")
def dates(cl: ChangeList) -> dict[str, Any]:
    """Django's own asks which days have rows that the filters let through, and so reads them all. Here each
    day between the first row and the last is offered, and those two are the ends of an index.
    """
    name = str(cl.date_hierarchy)
    ends = cl.model._default_manager.aggregate(first=Min(name), last=Max(name))
    if ends["first"] is None:
        return {"show": False}
    first, last = (timezone.localtime(ends[each]).date() for each in ("first", "last"))
    said = takewhile(cl.params.__contains__, (f"{name}__{part}" for part in PARTS))
    chosen = tuple(int(cl.params[key]) for key in said)

    def link(to: tuple[int, ...]) -> str:
        parts = {f"{name}__{part}": value for part, value in zip(PARTS, to, strict=False)}
        return cl.get_query_string(parts, [f"{name}__"])

    choices = [
        {"title": title, "link": link(to)}
        for to, title, begin, end in _within(chosen)
        if end >= first and begin <= last
    ]
    if not chosen:
        choices = [{"title": f"{year}", "link": link((year,))} for year in range(first.year, last.year + 1)]
    back = {"link": link(chosen[:-1]), "title": _title(chosen[:-1])} if chosen else None
    return {"show": True, "back": back, "choices": choices or [{"title": _title(chosen)}]}


def _within(chosen: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], str, date, date]]:
    """The months of a year, or the days of a month: what leads there, its title, its first and last day."""
    if len(chosen) == 1:
        [year] = chosen
        for month in range(1, 13):
            ends = date(year, month, monthrange(year, month)[1])
            yield (year, month), month_name[month], date(year, month, 1), ends
    if len(chosen) == 2:
        year, month = chosen
        for day in range(1, monthrange(year, month)[1] + 1):
            yield (year, month, day), str(day), date(year, month, day), date(year, month, day)


def _title(chosen: tuple[int, ...]) -> str:
    """`2026`, `March 2026`, `3 March 2026`."""
    year, month, day = (*chosen, None, None, None)[:3]
    return " ".join(str(each) for each in (day, month and month_name[month], year) if each) or "all dates"
