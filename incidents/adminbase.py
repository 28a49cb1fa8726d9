"""What the admin pages of all apps share: records are looked at, and changed through services only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from incidents import finding, services
from incidents.access import may
from incidents.models import Role

if TYPE_CHECKING:  # Django's classes are generic for the type checker only, and unfold's have no types
    _ModelAdmin = admin.ModelAdmin[Any]
    _TabularInline = admin.TabularInline[Any, Any]
    _Paginator = Paginator[Any]
    ModelForm = forms.ModelForm[Any]
    AutocompleteFilter = admin.RelatedFieldListFilter
    Select, Textarea = forms.Select, forms.Textarea
else:
    from unfold.admin import ModelAdmin as _ModelAdmin
    from unfold.admin import TabularInline as _TabularInline
    from unfold.contrib.filters.admin import AutocompleteSelectFilter
    from unfold.paginator import InfinitePaginator as _Paginator
    from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

    ModelForm = forms.ModelForm
    AutocompleteFilter = AutocompleteSelectFilter
    Select, Textarea = UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

M = TypeVar("M", bound=models.Model)
Work = Callable[[Any, str], str | None]  # what a person, by name, does to a row: why it was not done, or None
PER_PAGE = 50
PAGES = 200  # of a list; what is older is found by filters
SEARCHED = 20_000  # newest rows that a search of a table reads
LATELY = 5_000  # newest rows that a page counts
TONES = frozenset({"good", "bad", "warn", "info", "plain"})


def pretty(value: Any) -> SafeString | str:
    """JSON, or text, as a block to read; untrusted, thus escaped."""
    if value is None or value == "":
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html("<pre class='record'>{}</pre>", text)


def label(text: str, tone: str = "plain") -> SafeString:
    """A word in colour; `tone` is one of TONES."""
    if tone not in TONES:
        raise ValueError(f"no such tone: {tone}")
    return format_html('<span class="label tone-{}">{}</span>', tone, text)


def page(request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
    """A page of the admin that shows no table."""
    shared = admin.site.each_context(request)
    return TemplateResponse(request, template, {**shared, "title": title, **context})


def latest(model: type[M], count: int = LATELY) -> models.QuerySet[M]:
    """The newest rows of a table by their keys, found without a look at the others."""
    return model._default_manager.filter(pk__gt=_newest(model) - count)


def _newest(model: type[models.Model]) -> int:
    found: int | None = model._default_manager.order_by("-pk").values_list("pk", flat=True).first()
    return found or 0


class _NeverWritten:
    """No row is added, changed or deleted by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class InfinitePaginator(_Paginator):
    """Pages of rows that nobody counts: "next" is offered while a page is full, up to PAGES of them.

    unfold's templates know it by its name.
    """

    @cached_property
    def count(self) -> int:
        return PAGES * self.per_page


class RecordList(ChangeList):
    """A page of a list, its rows read at once: while they still are planned for the values asked for."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = cast("models.QuerySet[Any]", list(self.result_list))


class RecordAdmin(_NeverWritten, _ModelAdmin):
    """A table to look at: newest first, without a count or a search of the whole table."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count for each choice of each filter
    paginator = InfinitePaginator
    list_disable_select_all = True  # an action is for the rows of a page
    list_fullwidth = True
    ordering = ("-pk",)
    list_per_page = PER_PAGE
    search_help_text = f"Among the newest {SEARCHED:,}"
    sortable_by = ()  # what no index sorts would sort the whole table
    hidden: tuple[str, ...] = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RecordList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        with finding.planned_by_value():
            return super().get_changelist_instance(request)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """Among the newest rows only: text that has no index is read row by row."""
        if search_term and self.search_fields:
            queryset = queryset.filter(pk__gt=_newest(self.model) - SEARCHED)
        return super().get_search_results(request, queryset, search_term)

    def response_action(
        self, request: HttpRequest, queryset: models.QuerySet[Any], *more: Any, **options: Any
    ) -> HttpResponse | None:
        """For the chosen rows, whatever the form says of all others."""
        post = request.POST.copy()
        post["select_across"] = "0"
        request.POST = post  # type: ignore[assignment] # a copy that may be written is one, too
        return super().response_action(request, queryset, *more, **options)

    def do_to_each(self, request: HttpRequest, rows: models.QuerySet[Any], work: Work, what: str) -> None:
        """Say to how many it was done, and of each other why it was not."""
        by = request.user.get_username()
        not_done = [why for row in rows if (why := work(row, by)) is not None]
        if done := len(rows) - len(not_done):
            self.message_user(request, f"{done} {what}", messages.SUCCESS)
        for why in not_done:
            self.message_user(request, why, messages.WARNING)

    def do_once_to_each(
        self, request: HttpRequest, rows: models.QuerySet[Any], change: Callable[..., bool], what: str
    ) -> None:
        """The same with a service that answers False when it was so before."""

        def work(row: Any, by: str) -> str | None:
            return None if change(row, by=by) else f"{row} was {what} before"

        self.do_to_each(request, rows, work, what)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Every column, also those that no form may write."""
        return self.fields or [
            field.name for field in self.model._meta.fields if field.name not in self.hidden
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [str(name) for name in self.get_fields(request, obj)]


class QueueAdmin(RecordAdmin):
    """Rows that workers take; what died may be taken up again by a person."""

    actions = ("retry", "give_up")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Role.OPERATOR)

    @admin.action(description="Try dead ones again", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        self._change_dead(request, queryset, services.retry, "tried again")

    @admin.action(description="Give dead ones up", permissions=["retry"])
    def give_up(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        self._change_dead(request, queryset, services.give_up, "given up")

    def _change_dead(
        self, request: HttpRequest, rows: models.QuerySet[Any], change: Callable[..., bool], what: str
    ) -> None:
        def work(row: Any, by: str) -> str | None:
            return None if change(row, by=by) else f"{row} is not dead, but {row.state}"

        self.do_to_each(request, rows, work, what)


class LatelyFilter(admin.AllValuesFieldListFilter):
    """The values that the newest rows have: to know all of them the whole table would be read."""

    def __init__(self, field: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(field, *args, **kwargs)
        values = latest(field.model, SEARCHED).order_by(field.name).values_list(field.name, flat=True)
        self.lookup_choices = values.distinct()


class RecordInline(_NeverWritten, _TabularInline):
    """Rows that belong to the row at hand."""

    extra = 0
    can_delete = False
    hide_title = True  # a row's name says what its columns do, and is needed where it holds a link
    per_page = PER_PAGE
    ordering = ("pk",)

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> Any:
        return self.fields or ()
