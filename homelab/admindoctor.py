"""The doctor's page: the checks of `manage.py doctor`, each asked by itself, so none holds up the page."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from homelab import doctor
from incidents.adminbase import page


@require_safe
def doctor_page(request: HttpRequest) -> HttpResponse:
    """What can be asked. Nothing is asked until a person says so: a model's three tasks may cost money."""
    return page(request, "admin/pages/doctor.html", "Doctor", names=list(doctor.checks()))


@require_POST
def check(request: HttpRequest, name: str) -> HttpResponse:
    """The row of one check, asked now. Each has its own deadlines, so it may take some seconds."""
    ask = doctor.checks().get(name)
    if ask is None:
        raise Http404(f"no check is called {name}")
    return render(request, "admin/pages/doctor_row.html", {"name": name, "health": ask()})
