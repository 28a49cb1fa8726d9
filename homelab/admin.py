"""The admin site: the same Django admin, with this program's name on it."""

from typing import Any, cast

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse

from homelab.login import throttled


class HomelabAdmin(AdminSite):
    site_header = "homelab"
    site_title = "homelab"
    index_title = "Records"
    site_url = "/"
    enable_nav_sidebar = False

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return cast(HttpResponse, throttled(super().login)(request, extra_context))
