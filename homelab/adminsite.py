"""The admin site: its sidebar, its pages that show no table, and its login."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from django.apps import apps
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import BadRequest
from django.core.paginator import InvalidPage
from django.db import DataError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse

from agents import adminpages
from homelab import admindoctor
from homelab.login import throttled
from incidents import adminchannels

if TYPE_CHECKING:  # unfold has no types
    _Site = AdminSite
else:
    from unfold.sites import UnfoldAdminSite as _Site


@dataclass(frozen=True)
class Entry:
    """A line of the sidebar: a table by its model, `incidents.Incident`, or a page by its route."""

    title: str
    icon: str
    leads_to: str

    @property
    def is_table(self) -> bool:
        return "." in self.leads_to

    @property
    def route(self) -> str:
        name = self.leads_to.lower().replace(".", "_")
        return f"admin:{name}_changelist" if self.is_table else self.leads_to


SIDEBAR: dict[str, tuple[Entry, ...]] = {
    "": (
        Entry("Overview", "home", "overview"),
        Entry("Incidents", "crisis_alert", "incidents.Incident"),
        Entry("Approvals", "how_to_reg", "admin:approvals"),
        Entry("Problems", "repeat", "incidents.Problem"),
        Entry("Alerts", "notifications_active", "incidents.Episode"),
    ),
    "Crew": (
        Entry("Changes", "build", "agents.Action"),
        Entry("Autonomy", "verified_user", "agents.Autonomy"),
        Entry("Pauses", "pause_circle", "agents.Pause"),
        Entry("Maintenance windows", "event_repeat", "agents.MaintenanceWindow"),
        Entry("Investigations", "search_insights", "agents.CrewRun"),
        Entry("Turns", "steps", "agents.Step"),
        Entry("Tool calls", "terminal", "agents.ToolCall"),
        Entry("Model calls", "psychology", "agents.ModelCall"),
        Entry("Plots", "show_chart", "agents.Chart"),
    ),
    "Knowledge": (
        Entry("Inventory", "dns", "incidents.Target"),
        Entry("Playbooks", "menu_book", "admin:playbooks"),
        Entry("Tools", "handyman", "admin:tools"),
        Entry("Memory", "memory", "incidents.MemoryEntry"),
    ),
    "Running it": (
        Entry("Doctor", "stethoscope", "admin:doctor"),
        Entry("Budgets", "payments", "admin:budgets"),
        Entry("Channels", "campaign", "admin:channels"),
        Entry("Messages", "mail", "incidents.Notification"),
        Entry("Models away", "cloud_off", "agents.Breaker"),
        Entry("Jobs", "schedule", "incidents.Job"),
        Entry("Deliveries", "move_to_inbox", "incidents.Delivery"),
        Entry("Audit", "history", "incidents.Event"),
    ),
    "Access": (
        Entry("Tokens", "key", "incidents.Token"),
        Entry("People", "group", "auth.User"),
        Entry("Groups", "groups", "auth.Group"),
    ),
}


PAGE_OF_ROWS = "-page"  # of the rows that belong to the row at hand
PAGE = re.compile("[0-9]{1,9}")
# No number, no date, a range with one end, more than a column can hold.
UNFIT = (ValueError, IndexError, OverflowError, DataError)


def _sane(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """400 for NUL, which PostgreSQL has no text for, for a page that is no number, which unfold takes as it
    comes, and for chosen rows that cannot be. A filter's value that cannot be leads to the list without it,
    as Django itself does for the bad values that it knows.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        for name, values in request.GET.lists():
            if any("\0" in value for value in values):
                raise BadRequest("NUL in the address")
            if name.endswith(PAGE_OF_ROWS) and not all(PAGE.fullmatch(value) for value in values):
                raise BadRequest(f"{name} wants a number")
        place = request.resolver_match
        if place is None or not (place.url_name or "").endswith("_changelist"):
            return view(request, *args, **kwargs)
        try:
            response = view(request, *args, **kwargs)
            # here, for a list's template asks the database, too
            return response.render() if isinstance(response, SimpleTemplateResponse) else response
        except UNFIT as error:
            if request.method == "POST":
                raise BadRequest("no row has such a key") from error
            if ERROR_FLAG in request.GET:
                raise
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")

    return wrapper


class HomelabAdmin(_Site):
    site_header = "homelab"
    site_title = "homelab"
    index_title = "Records"
    site_url = "/"

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        return super().admin_view(_sane(view), cacheable)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return cast(HttpResponse, throttled(super().login)(request, extra_context))

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Tables by their names (Ctrl+K); what is in them is looked for in their own lists."""
        try:
            found: HttpResponse = super().search(request, extra_context)  # type: ignore[misc] # unfold's
        except (ValueError, InvalidPage) as error:  # of `page`, which unfold takes as it comes
            raise Http404 from error
        return found

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Without unfold's colours, which it writes into each page as a <style>: admin.css has ours."""
        return {**super().each_context(request), "colors": {}}

    def get_urls(self) -> list[URLPattern | URLResolver]:
        def place(route: str, view: Any, name: str) -> URLPattern:
            found: URLPattern = path(route, self.admin_view(view), name=name)
            return found

        return [
            place("approvals/", adminpages.approvals, "approvals"),
            place("approvals/<int:pk>/<str:decision>/", adminpages.decide, "decide"),
            place("playbooks/", adminpages.playbooks_page, "playbooks"),
            place("tools/", adminpages.tools_page, "tools"),
            place("budgets/", adminpages.budgets, "budgets"),
            place("channels/", adminchannels.channels_page, "channels"),
            place("channels/<str:name>/test/", adminchannels.send_test, "send-test"),
            place("doctor/", admindoctor.doctor_page, "doctor"),
            place("doctor/<str:name>/", admindoctor.check, "doctor-check"),
            *super().get_urls(),
        ]

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """What unfold shows at the side: the tables that this person may see, and the pages."""
        return [
            {"title": title, "separator": bool(title), "items": items}
            for title, entries in SIDEBAR.items()
            if (items := [self._item(request, entry) for entry in entries if self._shows(request, entry)])
        ]

    def _shows(self, request: HttpRequest, entry: Entry) -> bool:
        if not entry.is_table:
            return True
        return self._registry[apps.get_model(entry.leads_to)].has_view_or_change_permission(request)

    def _item(self, request: HttpRequest, entry: Entry) -> dict[str, Any]:
        link = reverse(entry.route)
        item = {
            "title": entry.title,
            "icon": entry.icon,
            "link": link,
            "has_permission": True,
            "active": link != "/" and request.path.startswith(link),
        }
        if entry.leads_to == "admin:approvals" and (waiting := adminpages.waiting().count()):
            item |= {"badge": str(waiting), "badge_variant": "warning"}
        return item
