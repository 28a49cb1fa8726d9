"""Problems in the admin: looked at, written on by people, and closed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, TextField
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from incidents import problems
from incidents.adminbase import ModelForm, RecordAdmin
from incidents.adminforms import Prose, SharedForm
from incidents.models import Event, Problem


class ProblemForm(SharedForm):
    """What a person says of a problem."""

    shared = frozenset({"note", "proposal"})

    def who_wrote(self, name: str, now: Problem) -> str:
        if name == "proposal":
            return now.proposal_by or problems.RULES
        written = Event.objects.filter(kind=Event.Kind.PROBLEM, data__problem=now.pk, data__has_key=name)
        return written.order_by("-pk").values_list("actor", flat=True).first() or ""


@admin.register(Problem)
class ProblemAdmin(RecordAdmin):
    """What comes back again and again. A person may say what would end it, and that it is over."""

    list_display = ("id", "title", "target", "opened_at", "last_seen_at", "reopened", "closed_at")
    list_display_links = ("id", "title")
    list_filter = (("closed_at", admin.EmptyFieldListFilter),)
    list_select_related = ("target",)
    search_fields = ("title", "target__key")
    actions = ("close",)
    form = ProblemForm
    formfield_overrides = {TextField: {"form_class": Prose}}
    fields = (
        "title",
        "target",
        "linked",
        ("opened_at", "last_seen_at", "reopened"),
        "proposal",
        "proposal_by",
        "note",
        ("closed_at", "closed_by"),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Problem | None = None) -> list[str]:
        names = [field.name for field in Problem._meta.fields if field.name not in ("note", "proposal")]
        return [*names, "linked"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    @admin.display(description="incidents")
    def linked(self, problem: Problem) -> SafeString | str:
        latest = problem.incidents.order_by("-pk")[: problems.MOST_LINKED]
        rows = (
            (reverse("incident", args=(each.pk,)), each, f"{each.opened_at:%Y-%m-%d %H:%M} UTC")
            for each in latest
        )
        return format_html_join("\n", '<div><a href="{}">{}</a> {}</div>', rows)

    def save_model(self, request: HttpRequest, obj: Problem, form: ModelForm, change: bool) -> None:
        said = {name: form.cleaned_data[name] for name in form.changed_data}
        if said:
            problems.edit(obj, by=request.user.get_username(), **said)

    @admin.action(description="Close", permissions=["change"])
    def close(self, request: HttpRequest, queryset: QuerySet[Problem]) -> None:
        self.do_once_to_each(request, queryset, problems.close, "closed")
