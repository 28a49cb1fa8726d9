"""The records in the admin, to look at. Incidents have their page in `agents`, with what the crew did."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from incidents import (
    access,
    adminproblems,  # noqa: F401 importing it registers its page
)
from incidents.adminbase import (
    LatelyFilter,
    ModelForm,
    QueueAdmin,
    RecordAdmin,
    pretty,
)
from incidents.models import (
    Delivery,
    Episode,
    Event,
    Job,
    MemoryEntry,
    Notification,
    Role,
    Target,
    Token,
)
from incidents.redaction import clean_tree

SHOWN = 500  # characters of a text in a list


@admin.register(Token)
class TokenAdmin(RecordAdmin):
    """Tokens. Who makes one decides what programs may do, so it takes a superuser."""

    list_display = ("name", "role", "source", "created_at", "revoked_at")
    list_filter = ("role",)
    search_fields = ("name", "source")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        asked = ("name", "role", "source")
        return asked if obj is None else (*asked, "created_at", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        return () if obj is None else self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access.may(request.user, Role.ADMIN)

    has_revoke_permission = has_add_permission

    def save_model(self, request: HttpRequest, obj: Token, form: ModelForm, change: bool) -> None:
        by = request.user.get_username()
        token, secret = access.create_token(name=obj.name, role=obj.role, source=obj.source, by=by)
        obj.pk = token.pk
        self.message_user(request, f"The token, shown this once: {secret}", messages.WARNING)

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        self.do_once_to_each(request, queryset, access.revoke_token, "revoked")


@admin.register(Delivery)
class DeliveryAdmin(RecordAdmin):
    """Requests to `/alert`, byte for byte: what senders wrote, secrets and all. So they are for admins."""

    list_display = ("id", "received_at", "source", "alerts", "unreadable")
    search_fields = ("source",)
    fields = ("received_at", "source", "alerts", "unreadable", "text")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access.may(request.user, Role.ADMIN)

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
        "title",
        "severity",
        "source",
        "incident",
        "starts_at",
        "ends_at",
        "contested_at",
    )
    list_select_related = ("incident",)
    search_fields = ("alert_name", "fingerprint")
    hidden = ("alert_name", "labels", "annotations", "generator_url")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_fields(request, obj), "sent"]

    @admin.display(description="as it was sent, redacted")
    def sent(self, episode: Episode) -> SafeString | str:
        return pretty(clean_tree({name: getattr(episode, name) for name in self.hidden}))


@admin.register(Target)
class TargetAdmin(RecordAdmin):
    """The inventory, as the integrations last saw it."""

    list_display = ("key", "kind", "host", "name", "parent", "last_seen_at", "gone_at")
    list_filter = (("kind", LatelyFilter),)
    list_select_related = ("parent",)
    search_fields = ("key",)
    fields = ("key", "kind", "host", "name", "parent", "first_seen_at", "last_seen_at", "gone_at", "known")

    @admin.display(description="facts")
    def known(self, target: Target) -> SafeString | str:
        return pretty(target.facts or None)


@admin.register(Event)
class EventAdmin(RecordAdmin):
    """Everything that happened: the audit."""

    list_before_template = "admin/incidents/event/export.html"
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
    list_filter = ("kind", "state", ("channel", LatelyFilter))
    search_fields = ("title", "body")


@admin.register(MemoryEntry)
class MemoryEntryAdmin(QueueAdmin):
    """What is remembered: incidents, those of another memory, runbooks."""

    list_display = ("id", "kind", "title", "model", "state", "attempts", "synced_at", "error")
    list_filter = ("kind", "state", ("model", LatelyFilter))
    search_fields = ("title", "text")
    hidden = ("vector", "next_vector")


@admin.register(Job)
class JobAdmin(QueueAdmin):
    """The server's own work."""

    list_display = ("name", "state", "due_at", "last_finished_at", "requested_by", "attempts", "error")
