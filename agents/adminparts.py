"""What an incident's page in the admin shows below it, and what the list of incidents is filtered by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from agents.models import Action, CrewRun
from incidents import finding
from incidents.adminbase import RecordInline, pretty
from incidents.models import SEVERITIES, Episode, Event, Incident, Notification
from incidents.redaction import clean_tree


class EpisodeInline(RecordInline):
    model = Episode
    verbose_name_plural = "alerts"
    fields = ("title", "severity", "target", "starts_at", "ends_at", "contested_at", "sent_labels")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Episode]:
        return super().get_queryset(request).select_related("target")

    @admin.display(description="labels")
    def sent_labels(self, episode: Episode) -> SafeString | str:
        return pretty(clean_tree(episode.labels))


class EventInline(RecordInline):
    model = Event
    verbose_name_plural = "timeline"
    fields = ("at", "kind", "actor", "text")


class NotificationInline(RecordInline):
    model = Notification
    fields = ("created_at", "kind", "channel", "title", "state", "sent_at", "error")


class ActionInline(RecordInline):
    model = Action
    fields = ("kind", "target", "status", "reason", "proposed_at", "decided_by", "result", "helped")
    show_change_link, hide_title = True, False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Action]:
        return super().get_queryset(request).select_related("target")


class RunInline(RecordInline):
    model = CrewRun
    verbose_name_plural = "investigations"
    fields = ("number", "started_at", "finished_at")
    show_change_link, hide_title = True, False


class ColumnFilter(admin.SimpleListFilter):
    """The column `parameter_name` by its values, which are found without a look at the rows."""

    parameter_name: str

    def values(self) -> Iterable[str]:
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(each, each) for each in self.values()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Incident]) -> QuerySet[Incident]:
        value = self.value()
        return queryset.filter(**{self.parameter_name: value}) if value else queryset


class SeverityFilter(ColumnFilter):
    title = "severity"
    parameter_name = "severity_class"

    def values(self) -> Iterable[str]:
        return SEVERITIES


class SourceFilter(ColumnFilter):
    title = "source"
    parameter_name = "source"

    def values(self) -> Iterable[str]:
        return finding.sources()
