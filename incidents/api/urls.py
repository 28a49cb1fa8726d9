"""Routes of the records. A trailing slash is welcome, never needed: a redirect would drop a POST's body."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, re_path
from rest_framework.routers import SimpleRouter

from incidents.api import problems, root, tokens, views
from incidents.api.audit import AuditView
from incidents.api.channels import ChannelsView, ChannelTestView
from incidents.api.incidents import IncidentViewSet

root_patterns = [
    re_path(r"^alert/?$", root.AlertView.as_view(), name="alert"),
    re_path(r"^health(?:/ready)?/?$", root.HealthView.as_view(), name="health"),
    re_path(r"^health/live/?$", root.LiveView.as_view(), name="health-live"),
    re_path(r"^stats/?$", root.StatsView.as_view(), name="stats"),
    re_path(r"^incidents/?$", root.IncidentsView.as_view(), name="incidents"),
    re_path(r"^trigger-health-check/?$", root.TriggerHealthCheckView.as_view(), name="trigger-health-check"),
]

router = SimpleRouter()
router.trailing_slash = "/?"
router.register("incidents", IncidentViewSet, basename="api-incident")
router.register("alerts", views.AlertViewSet, basename="api-alert")
router.register("problems", problems.ProblemViewSet, basename="api-problem")
router.register("notifications", views.NotificationViewSet, basename="api-notification")
router.register("targets", views.TargetViewSet, basename="api-target")
router.register("events", views.EventViewSet, basename="api-event")
router.register("deliveries", views.DeliveryViewSet, basename="api-delivery")
router.register("tokens", tokens.TokenViewSet, basename="api-token")
api_patterns: list[URLPattern | URLResolver] = [
    re_path(r"^memory/?$", views.MemoryView.as_view(), name="api-memory"),
    re_path(r"^audit\.(?P<form>csv|jsonl)/?$", AuditView.as_view(), name="api-audit"),
    re_path(r"^channels/?$", ChannelsView.as_view(), name="api-channels"),
    re_path(
        r"^channels/(?P<name>[a-zA-Z0-9+.-]{1,60})/test/?$",
        ChannelTestView.as_view(),
        name="api-channel-test",
    ),
    *router.urls,
]
