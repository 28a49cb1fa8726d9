"""The records in the admin. Incidents are annotated here; everything else is looked at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from incidents import (
    access,
    adminproblems,  # noqa: F401 importing it registers its page
    services,
)
from incidents.adminbase import ModelForm, QueueAdmin, RecordAdmin, RecordInline, pretty, tell_changed
from incidents.models import (
    Delivery,
    Episode,
    Event,
    Incident,
    Job,
    MemoryEntry,
    Notification,
    Role,
    Target,
    Token,
    Verdict,
)
from incidents.redaction import clean_tree
from incidents.wording import duration, trace_link

SHOWN = 500  # characters of a text in a list
WRITABLE = ("human_cause", "human_note")
BUTTONS = {"_false_alarm": Verdict.FALSE_ALARM, "_resolved_by_me": Verdict.RESOLVED_BY_HUMAN}


class EpisodeInline(RecordInline):
    model = Episode
    verbose_name_plural = "alerts"
    fields = ("alert_name", "severity", "target", "starts_at", "ends_at", "contested_at", "sent_labels")
    readonly_fields = fields

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


@admin.register(Incident)
class IncidentAdmin(RecordAdmin):
    """Incidents. A person may say what the cause was, and how it ended; the rest is what happened."""

    list_display = ("id", "alert_name", "severity", "target", "status", "verdict", "opened_at", "took")
    list_display_links = ("id", "alert_name")
    list_filter = ("status", "verdict", "severity_class", "adopted")
    list_select_related = ("target",)
    search_fields = ("alert_name", "description", "target__key")
    date_hierarchy = "opened_at"
    inlines: ClassVar[tuple[type[RecordInline], ...]] = (EpisodeInline, EventInline, NotificationInline)
    actions = ("mark_false_alarm", "mark_resolved_by_me", "mark_acknowledged")
    fieldsets = (
        (None, {"fields": ("alert_name", "severity", "target", "source", "description")}),
        ("What a person knows", {"fields": (*WRITABLE, "annotated_by", "annotated_at")}),
        (
            "State",
            {
                "fields": (
                    ("status", "verdict"),
                    "proof_note",
                    ("started_at", "opened_at"),
                    ("ended_at", "closed_at", "took"),
                    ("acknowledged_by", "acknowledged_at"),
                    ("reopened", "adopted", "previous"),
                    ("request_id", "trace"),
                )
            },
        ),
        ("The crew's word", {"fields": ("root_cause", "certainty", "rung", "remediation_taken")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Incident | None = None) -> list[str]:
        names = [field.name for field in Incident._meta.fields if field.name not in WRITABLE]
        return [*names, "took", "trace"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    @admin.display(description="trace")
    def trace(self, incident: Incident) -> str:
        """A link where TRACE_URL_TEMPLATE says where traces are, else the id."""
        link = trace_link(incident)
        return (
            format_html('<a href="{}">{}</a>', link, incident.trace_id) if link else incident.trace_id or "-"
        )

    @admin.display(description="took", ordering="resolution_seconds")
    def took(self, incident: Incident) -> str:
        seconds = incident.resolution_seconds
        return "-" if seconds is None else duration(timedelta(seconds=seconds))

    def save_model(self, request: HttpRequest, obj: Incident, form: ModelForm, change: bool) -> None:
        """Through the service, which writes the event and teaches the memory; never a plain save."""
        by = request.user.get_username()
        verdict = next((verdict for name, verdict in BUTTONS.items() if name in request.POST), None)
        if form.changed_data or verdict is not None:
            said = {name: form.cleaned_data[name] for name in form.changed_data}
            services.annotate(
                obj, by=by, cause=said.get("human_cause"), note=said.get("human_note"), verdict=verdict
            )
        if "_acknowledge" in request.POST and not services.acknowledge(obj, by=by):
            self.message_user(request, "it was acknowledged before", messages.WARNING)

    def response_change(self, request: HttpRequest, obj: Incident) -> HttpResponse:
        if any(name in request.POST for name in (*BUTTONS, "_acknowledge")):
            fresh = Incident.objects.get(pk=obj.pk)
            self.message_user(request, f"{fresh}: {fresh.verdict or fresh.status}", messages.SUCCESS)
            return HttpResponseRedirect(request.path)
        return super().response_change(request, obj)

    @admin.action(description="False alarm", permissions=["change"])
    def mark_false_alarm(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self._give(request, queryset, Verdict.FALSE_ALARM)

    @admin.action(description="Resolved by me", permissions=["change"])
    def mark_resolved_by_me(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self._give(request, queryset, Verdict.RESOLVED_BY_HUMAN)

    def _give(self, request: HttpRequest, queryset: QuerySet[Incident], verdict: Verdict) -> None:
        done, not_done = 0, []
        for incident in queryset:
            if incident.verdict == verdict:
                not_done.append(f"{incident} had this verdict before")
                continue
            services.annotate(incident, by=request.user.get_username(), verdict=verdict)
            done += 1
        tell_changed(self, request, done=done, what=f"marked: {verdict.label}", not_done=not_done)

    @admin.action(description="Acknowledge", permissions=["change"])
    def mark_acknowledged(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        done, not_done = 0, []
        for incident in queryset:
            if services.acknowledge(incident, by=request.user.get_username()):
                done += 1
            else:
                not_done.append(f"{incident} was acknowledged before by {incident.acknowledged_by}")
        tell_changed(self, request, done=done, what="acknowledged", not_done=not_done)


@admin.register(Token)
class TokenAdmin(RecordAdmin):
    """Tokens. Who makes one decides what programs may do, so it takes a superuser."""

    list_display = ("name", "role", "source", "created_at", "revoked_at")
    list_filter = ("role",)
    search_fields = ("name", "source")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        return (
            ("name", "role", "source")
            if obj is None
            else ("name", "role", "source", "created_at", "revoked_at")
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        return () if obj is None else self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    has_revoke_permission = has_add_permission

    def save_model(self, request: HttpRequest, obj: Token, form: ModelForm, change: bool) -> None:
        by = request.user.get_username()
        token, secret = access.create_token(name=obj.name, role=obj.role, source=obj.source, by=by)
        obj.pk = token.pk
        self.message_user(request, f"The token, shown this once: {secret}", messages.WARNING)

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        done, not_done = 0, []
        for token in queryset:
            if access.revoke_token(token, by=request.user.get_username()):
                done += 1
            else:
                not_done.append(f"{token} was revoked before")
        tell_changed(self, request, done=done, what="revoked", not_done=not_done)


@admin.register(Delivery)
class DeliveryAdmin(RecordAdmin):
    """Requests to `/alert`, byte for byte: what senders wrote, secrets and all. So they are for admins."""

    list_display = ("id", "received_at", "source", "alerts", "unreadable")
    search_fields = ("source",)
    fields = ("received_at", "source", "alerts", "unreadable", "text")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        found = access.caller_of(request.user)
        return found is not None and found.may(Role.ADMIN)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return super().get_queryset(request).defer("body")

    @admin.display(description="not readable")
    def unreadable(self, delivery: Delivery) -> SafeString | str:
        return pretty(delivery.quarantined or None)

    @admin.display(description="body")
    def text(self, delivery: Delivery) -> SafeString | str:
        return pretty(bytes(delivery.body).decode("utf-8", "replace"))


@admin.register(Episode)
class EpisodeAdmin(RecordAdmin):
    """Alerts, each from its firing to its end."""

    list_display = (
        "id",
        "alert_name",
        "severity",
        "source",
        "incident",
        "starts_at",
        "ends_at",
        "contested_at",
    )
    list_select_related = ("incident",)
    search_fields = ("alert_name", "fingerprint")
    hidden = ("labels", "annotations", "generator_url")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_fields(request, obj), "sent"]

    @admin.display(description="as it was sent, redacted")
    def sent(self, episode: Episode) -> SafeString | str:
        return pretty(clean_tree({name: getattr(episode, name) for name in self.hidden}))


@admin.register(Target)
class TargetAdmin(RecordAdmin):
    """The inventory, as the integrations last saw it."""

    list_display = ("key", "kind", "host", "name", "parent", "last_seen_at", "gone_at")
    list_filter = ("kind",)
    list_select_related = ("parent",)
    search_fields = ("key",)
    fields = ("key", "kind", "host", "name", "parent", "first_seen_at", "last_seen_at", "gone_at", "known")

    @admin.display(description="facts")
    def known(self, target: Target) -> SafeString | str:
        return pretty(target.facts or None)


@admin.register(Event)
class EventAdmin(RecordAdmin):
    """Everything that happened: the audit."""

    list_display = ("id", "at", "kind", "actor", "incident", "said")
    list_filter = ("kind",)
    list_select_related = ("incident",)
    search_fields = ("text", "actor")
    fields = ("at", "kind", "actor", "incident", "text", "details")

    @admin.display(description="text")
    def said(self, event: Event) -> str:
        return Truncator(event.text).chars(SHOWN)

    @admin.display(description="data")
    def details(self, event: Event) -> SafeString | str:
        return pretty(clean_tree(event.data) or None)


@admin.register(Notification)
class NotificationAdmin(QueueAdmin):
    """Messages to people; `dead` ones were given up."""

    list_display = ("id", "kind", "channel", "title", "state", "attempts", "sent_at", "error")
    list_filter = ("kind", "state", "channel")
    search_fields = ("title", "body")


@admin.register(MemoryEntry)
class MemoryEntryAdmin(QueueAdmin):
    """What is remembered: incidents, those of another memory, runbooks."""

    list_display = ("id", "kind", "title", "model", "state", "attempts", "synced_at", "error")
    list_filter = ("kind", "state", "model")
    search_fields = ("title", "text")
    hidden = ("vector", "next_vector")


@admin.register(Job)
class JobAdmin(QueueAdmin):
    """The server's own work."""

    list_display = ("name", "state", "due_at", "last_finished_at", "requested_by", "attempts", "error")
