"""The crew's changes in the admin: actions to decide, autonomy to give, pauses to make and to lift."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from agents import (
    adminincidents,  # noqa: F401 importing it registers its page
    admintranscripts,  # noqa: F401
    ledger,
    pauses,
    questions,
)
from agents.models import Action, Autonomy, MaintenanceWindow, Pause
from agents.pauses import UnknownScope, check_scope
from incidents.access import may
from incidents.adminbase import LatelyFilter, ModelForm, RecordAdmin, pretty
from incidents.models import Role


@admin.register(Action)
class ActionAdmin(RecordAdmin):
    """Changes to the world. A person's yes or no is given here or on the incident's page."""

    list_display = ("id", "kind", "target", "status", "incident", "expires_at", "decided_by", "helped")
    list_filter = ("status", "kind", "helped")
    list_select_related = ("target", "incident")
    search_fields = ("target__key", "incident__alert_name", "reason")
    actions = ("approve", "reject")
    fields = (
        "incident",
        "kind",
        "target",
        "status",
        "reason",
        "arguments",
        "touches",
        "what_authorize_said",
        "target_state",
        "proposed_at",
        "expires_at",
        "decided_at",
        "decided_by",
        "rejected_as",
        "executing_at",
        "finished_at",
        "result",
        "helped",
    )

    @admin.display(description="authorize()")
    def what_authorize_said(self, action: Action) -> SafeString | str:
        return pretty(action.decision or None)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Role.OPERATOR)

    @admin.action(description="Approve", permissions=["decide"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Action]) -> None:
        self._decide(request, queryset, questions.approve, "approved")

    @admin.action(description="Reject", permissions=["decide"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Action]) -> None:
        self._decide(request, queryset, questions.reject, "rejected")

    def _decide(
        self, request: HttpRequest, queryset: QuerySet[Action], decide: Callable[..., Action], what: str
    ) -> None:
        def work(action: Action, by: str) -> str | None:
            try:
                decide(action, by=by)
            except questions.NotWaiting as error:
                return f"not {what}: {error}"
            return None

        self.do_to_each(request, queryset, work, what)


@admin.register(Autonomy)
class AutonomyAdmin(RecordAdmin):
    """Which changes ask. A person raises or lowers a pair here, on the overview, or by the API."""

    list_display = (
        "kind",
        "alert_name",
        "target_kind",
        "level",
        "record",
        "offer",
        "raised_by",
        "lowered_why",
    )
    list_filter = ("level", "kind", ("target_kind", LatelyFilter))
    search_fields = ("alert_name",)
    actions = ("raise_level", "lower_level")
    has_decide_permission = ActionAdmin.has_decide_permission

    def get_queryset(self, request: HttpRequest) -> QuerySet[Autonomy]:
        return ledger.with_record()

    @admin.display(description="since it was lowered")
    def record(self, pair: Autonomy) -> str:
        return ledger.record_of(pair).text

    @admin.display(description="offer")
    def offer(self, pair: Autonomy) -> str | None:
        return ledger.offer_of(pair)

    @admin.action(description="Ask no more", permissions=["decide"])
    def raise_level(self, request: HttpRequest, queryset: QuerySet[Autonomy]) -> None:
        self._decide(request, queryset, "raise", "raised")

    @admin.action(description="Ask from now on", permissions=["decide"])
    def lower_level(self, request: HttpRequest, queryset: QuerySet[Autonomy]) -> None:
        self._decide(request, queryset, "lower", "lowered")

    def _decide(
        self, request: HttpRequest, pairs: QuerySet[Autonomy], decision: ledger.Decision, what: str
    ) -> None:
        def work(pair: Autonomy, by: str) -> str | None:
            try:
                return None if ledger.decide(pair, decision, by=by) else f"{pair} was {what} before"
            except ledger.CannotDecide as error:
                return f"not {what}: {error}"

        self.do_to_each(request, pairs, work, what)


class BrakeForm(ModelForm):
    """What is new; its scope must be something that exists."""

    def clean_scope(self) -> str:
        try:
            return check_scope(self.cleaned_data["scope"])
        except UnknownScope as error:
            raise forms.ValidationError(str(error)) from error


class PauseForm(BrakeForm):
    """A new pause."""

    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until is not None and until <= timezone.now():
            raise forms.ValidationError("is in the past")
        return until


class BrakeAdmin(RecordAdmin):
    """What a person makes and ends, and nobody changes."""

    asked: tuple[str, ...]
    kept: tuple[str, ...]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.asked if obj is None else (*self.asked, *self.kept)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def has_end_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request)


@admin.register(Pause)
class PauseAdmin(BrakeAdmin):
    """Pauses. `*` without an end is the kill switch."""

    form = PauseForm
    list_display = ("scope", "until", "reason", "by", "created_at", "lifted_at")
    search_fields = ("scope", "reason")
    actions = ("lift",)
    asked = ("scope", "until", "reason")
    kept = ("by", "created_at", "lifted_at")

    def save_model(self, request: HttpRequest, obj: Pause, form: ModelForm, change: bool) -> None:
        by = request.user.get_username()
        obj.pk = pauses.pause(scope=obj.scope, until=obj.until, by=by, reason=obj.reason).pk

    @admin.action(description="Lift", permissions=["end"])
    def lift(self, request: HttpRequest, queryset: QuerySet[Pause]) -> None:
        self.do_once_to_each(request, queryset, pauses.lift, "lifted")


class WindowForm(BrakeForm):
    """A new window, its days as boxes."""

    days = forms.MultipleChoiceField(
        required=False,
        choices=[(day, day) for day in pauses.DAYS],
        widget=forms.CheckboxSelectMultiple,
        help_text="None: every day",
    )


@admin.register(MaintenanceWindow)
class WindowAdmin(BrakeAdmin):
    """Times of the week in which nothing is changed."""

    form = WindowForm
    list_display = ("scope", "days", "starts", "minutes", "reason", "by", "ended_at")
    actions = ("end",)
    asked = ("scope", "days", "starts", "minutes", "reason")
    kept = ("by", "created_at", "ended_at")

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        said = {name: getattr(obj, name) for name in self.asked}
        obj.pk = pauses.open_window(by=request.user.get_username(), **said).pk

    @admin.action(description="End", permissions=["end"])
    def end(self, request: HttpRequest, queryset: QuerySet[MaintenanceWindow]) -> None:
        self.do_once_to_each(request, queryset, pauses.end_window, "ended")
