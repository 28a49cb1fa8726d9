"""Transcripts in the admin: investigations, their turns, what was read, and what models were asked."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from agents.models import Breaker, Chart, CrewRun, ModelCall, Step, ToolCall
from incidents.adminbase import LatelyFilter, QueueAdmin, RecordAdmin, RecordInline, pretty


class StepInline(RecordInline):
    model = Step
    fields = ("agent", "number", "state", "rung", "started_at", "finished_at", "error")
    show_change_link, hide_title = True, False


@admin.register(CrewRun)
class CrewRunAdmin(RecordAdmin):
    """Investigations."""

    list_display = ("id", "incident", "number", "started_at", "finished_at")
    list_select_related = ("incident",)
    search_fields = ("incident__alert_name",)
    inlines = (StepInline,)


class ToolCallInline(RecordInline):
    model = ToolCall
    fields = ("call_id", "tool", "arguments", "shown", "seconds", "error")
    show_change_link, hide_title = True, False


class ModelCallInline(RecordInline):
    model = ModelCall
    fk_name = "step"
    fields = ("model", "input_tokens", "cached_tokens", "output_tokens", "cost_usd", "seconds", "error")
    show_change_link, hide_title = True, False


@admin.register(Step)
class StepAdmin(QueueAdmin):
    """Agents' turns."""

    list_display = ("id", "agent", "number", "run", "state", "rung", "attempts", "error")
    list_filter = ("agent", "state", ("rung", LatelyFilter))
    list_select_related = ("run",)
    inlines = (ToolCallInline, ModelCallInline)
    hidden = ("output", "brief")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_fields(request, obj), "given", "answer"]

    @admin.display(description="brief")
    def given(self, step: Step) -> SafeString | str:
        return pretty(step.brief)

    @admin.display(description="output")
    def answer(self, step: Step) -> SafeString | str:
        return pretty(step.output)


@admin.register(Chart)
class ChartAdmin(QueueAdmin):
    """What is plotted of incidents that are over."""

    list_display = ("id", "incident", "state", "due_at", "read_at", "error")
    list_filter = ("state",)
    list_select_related = ("incident",)


@admin.register(ToolCall)
class ToolCallAdmin(RecordAdmin):
    """Readings of the world, whole and redacted."""

    list_display = ("id", "tool", "call_id", "step", "started_at", "seconds", "error")
    list_filter = (("tool", LatelyFilter),)
    list_select_related = ("step",)
    fields = (
        "step",
        "attempt",
        "call_id",
        "tool",
        "asked",
        "whole",
        "read",
        "shown",
        "error",
        "started_at",
        "seconds",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ToolCall]:
        return super().get_queryset(request).defer("output", "data")

    @admin.display(description="arguments")
    def asked(self, call: ToolCall) -> SafeString | str:
        return pretty(call.arguments or None)

    @admin.display(description="output")
    def whole(self, call: ToolCall) -> SafeString | str:
        return pretty(call.output)

    @admin.display(description="data")
    def read(self, call: ToolCall) -> SafeString | str:
        return pretty(call.data or None)


@admin.register(Breaker)
class BreakerAdmin(RecordAdmin):
    """Models' servers that failed lately, and until when they are left alone."""

    list_display = ("rung", "failures", "open_until", "reason")


@admin.register(ModelCall)
class ModelCallAdmin(RecordAdmin):
    """Requests to models, as they were sent and answered."""

    list_display = (
        "id",
        "started_at",
        "model",
        "step",
        "input_tokens",
        "output_tokens",
        "cost_usd",
        "error",
    )
    list_filter = (
        "started_at",
        ("model", LatelyFilter),
        "step__agent",
        ("cost_usd", admin.EmptyFieldListFilter),
        ("prompts", LatelyFilter),
        ("replay_of", admin.EmptyFieldListFilter),
    )
    search_fields = ("=step__run__incident__id", "step__run__incident__alert_name")
    list_select_related = ("step", "replay_of")
    hidden = ("request", "response")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelCall]:
        return super().get_queryset(request).defer("request", "response")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_fields(request, obj), "sent", "answered"]

    @admin.display(description="request")
    def sent(self, call: ModelCall) -> SafeString | str:
        return pretty(call.request)

    @admin.display(description="response")
    def answered(self, call: ModelCall) -> SafeString | str:
        return pretty(call.response)
