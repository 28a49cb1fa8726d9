"""Routes of the crew's work. As everywhere, a trailing slash is welcome and never needed."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, re_path
from rest_framework.routers import SimpleRouter

from agents.api import brakes, views
from agents.api.autonomy import AutonomyViewSet
from agents.api.health import HealthChecksView
from agents.api.policy import TargetPolicyView
from agents.api.postmortem import PostmortemView
from agents.api.slo import SloView
from agents.api.stats import StatsView

router = SimpleRouter()
router.trailing_slash = "/?"
router.register("actions", views.ActionViewSet, basename="api-action")
router.register("autonomy", AutonomyViewSet, basename="api-autonomy")
router.register("pauses", brakes.PauseViewSet, basename="api-pause")
router.register("maintenance-windows", brakes.WindowViewSet, basename="api-window")
api_patterns: list[URLPattern | URLResolver] = [
    re_path(
        r"^incidents/(?P<incident_id>[0-9]{1,18})/runs/?$",
        views.IncidentRunsView.as_view(),
        name="api-incident-runs",
    ),
    re_path(
        r"^incidents/(?P<incident_id>[0-9]{1,18})/investigate-again/?$",
        views.InvestigateAgainView.as_view(),
        name="api-investigate-again",
    ),
    re_path(
        r"^incidents/(?P<incident_id>[0-9]{1,18})/postmortem/?$",
        PostmortemView.as_view(),
        name="api-postmortem",
    ),
    re_path(
        r"^incidents/(?P<incident_id>[0-9]{1,18})/cost/?$",
        views.IncidentCostView.as_view(),
        name="api-incident-cost",
    ),
    re_path(
        r"^targets/(?P<target_id>[0-9]{1,18})/policy/?$",
        TargetPolicyView.as_view(),
        name="api-target-policy",
    ),
    re_path(r"^slo/?$", SloView.as_view(), name="api-slo"),
    re_path(r"^stats/?$", StatsView.as_view(), name="api-stats"),
    re_path(r"^health-checks/?$", HealthChecksView.as_view(), name="api-health-checks"),
    re_path(r"^costs/?$", views.CostsView.as_view(), name="api-costs"),
    *router.urls,
]
