"""Every route of the program."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from agents.api.urls import api_patterns as agents_api
from homelab import pwa
from homelab.login import throttled
from incidents.access import RolePermission
from incidents.api.errors import no_such_endpoint
from incidents.api.urls import api_patterns as incidents_api
from incidents.api.urls import root_patterns
from metrics.views import metrics

READ = ["get", "head"]
handler400 = "homelab.failures.bad_request"
handler500 = "homelab.failures.server_error"
urlpatterns = [
    *root_patterns,
    re_path(r"^metrics/?$", metrics, name="metrics"),
    path("api/v1/", include([*incidents_api, *agents_api])),
    re_path(
        r"^api/schema/?$",
        SpectacularAPIView.as_view(permission_classes=[RolePermission], http_method_names=READ),
        name="schema",
    ),
    re_path(
        r"^api/docs/?$",
        SpectacularSwaggerSplitView.as_view(  # with its script apart, as the policy wants it
            url_name="schema", permission_classes=[RolePermission], http_method_names=READ
        ),
        name="docs",
    ),
    re_path(r"^api(?:/[\s\S]*)?$", no_such_endpoint),  # whatever it is, line ends included
    path("admin", RedirectView.as_view(pattern_name="admin:index", http_method_names=READ)),
    path("admin/", admin.site.urls),
    # The admin's own login turns viewers away, so people log in here.
    re_path(r"^login/?$", throttled(LoginView.as_view(next_page="overview")), name="login"),
    re_path(r"^logout/?$", LogoutView.as_view(next_page="login"), name="logout"),
    path("sw.js", pwa.service_worker, name="service-worker"),
    path("offline", pwa.offline, name="offline"),
    path("", include("agents.urls")),
]
