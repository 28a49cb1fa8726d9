"""What the admin pages of all apps share: records are looked at, and changed through services only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from incidents.access import caller_of
from incidents.models import Role
from incidents.queue import QueueRow, give_up, retry

if TYPE_CHECKING:  # Django's classes are generic for the type checker only
    _ModelAdmin = admin.ModelAdmin[Any]
    _TabularInline = admin.TabularInline[Any, Any]
    ModelForm = forms.ModelForm[Any]
else:
    _ModelAdmin, _TabularInline, ModelForm = admin.ModelAdmin, admin.TabularInline, forms.ModelForm


def pretty(value: Any) -> SafeString | str:
    """JSON, or text, as a block to read; untrusted, thus escaped."""
    if value is None or value == "":
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html("<pre class='record'>{}</pre>", text)


def tell_changed(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, *, done: int, what: str, not_done: list[str]
) -> None:
    """Say how many rows changed, and of each that did not, why."""
    if done:
        model_admin.message_user(request, f"{done} {what}", messages.SUCCESS)
    for reason in not_done:
        model_admin.message_user(request, reason, messages.WARNING)


class _NeverWritten:
    """No row is added, changed or deleted by hand."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RecordAdmin(_NeverWritten, _ModelAdmin):
    """A table to look at: newest first, without a count of the whole table."""

    show_full_result_count = False
    ordering = ("-pk",)
    list_per_page = 50
    hidden: tuple[str, ...] = ()

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
        found = caller_of(request.user)
        return found is not None and found.may(Role.OPERATOR)

    @admin.action(description="Try dead ones again", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        self._change_dead(request, list(queryset), retry, "tried again")

    @admin.action(description="Give dead ones up", permissions=["retry"])
    def give_up(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        by = request.user.get_username()
        self._change_dead(request, list(queryset), lambda row: give_up(row, by=by), "given up")

    def _change_dead(
        self, request: HttpRequest, rows: list[Any], change: Callable[[QueueRow], bool], what: str
    ) -> None:
        alive = [f"{row} is not dead, but {row.state}" for row in rows if not change(row)]
        tell_changed(self, request, done=len(rows) - len(alive), what=what, not_done=alive)


class RecordInline(_NeverWritten, _TabularInline):
    """Rows that belong to the row at hand."""

    extra = 0
    can_delete = False
    ordering = ("pk",)

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> Any:
        return self.fields or ()
