"""The pages for people: the overview, service levels, and what stops or lets the crew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import condition, require_POST, require_safe

from agents import first_steps, ledger, pauses, slo
from agents import overview as overview_page
from agents.forms import PauseHereForm
from agents.models import Autonomy, Pause
from incidents.access import Caller, caller_of
from incidents.models import Role

View = Callable[..., HttpResponseBase]
SLO_WEEKS = 8


def needs(role: Role) -> Callable[[Callable[..., HttpResponse]], View]:
    """A page for people who are logged in and have at least this role; it is given the caller."""

    def decorate(view: Callable[..., HttpResponse]) -> View:
        @never_cache
        @login_required(login_url="login")
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            caller = caller_of(request.user)
            if caller is None or not caller.may(role):
                raise PermissionDenied
            return view(request, caller, *args, **kwargs)

        return checked

    return decorate


@require_safe
@needs(Role.VIEWER)
@condition(etag_func=lambda request, caller: overview_page.version(caller))
def overview(request: HttpRequest, caller: Caller) -> HttpResponse:
    context = overview_page.context(caller)
    if not context["connected"]:
        context |= first_steps.context(request, caller)
    return render(request, "overview.html", context)


@require_safe
@needs(Role.VIEWER)
def service_levels(request: HttpRequest, caller: Caller) -> HttpResponse:
    return render(request, "slo.html", slo.recent(SLO_WEEKS))


@require_POST
@needs(Role.OPERATOR)
def pause(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Change nothing in a scope for some hours."""
    form = PauseHereForm(request.POST)
    if form.is_valid():
        scope, hours = form.cleaned_data["scope"], form.cleaned_data["hours"]
        until = timezone.now() + timedelta(hours=hours)
        pauses.pause(scope=scope, until=until, by=caller.name, reason="from a page")
        messages.success(request, f"Paused: nothing is changed in {scope} for {hours} h.")
    else:
        messages.error(request, f"Not paused: {form.errors.as_text()}")
    return redirect("overview")


@require_POST
@needs(Role.OPERATOR)
def lift(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    row = get_object_or_404(Pause, pk=pk)
    pauses.lift(row, by=caller.name)
    messages.success(request, f"Lifted: {row}.")
    return redirect("overview")


@require_POST
@needs(Role.OPERATOR)
def autonomy(request: HttpRequest, caller: Caller, pk: str, decision: ledger.Decision) -> HttpResponse:
    """A person's word on what asks: raised, lowered, or an offer declined."""
    pair = get_object_or_404(Autonomy, pk=pk)
    try:
        ledger.decide(pair, decision, by=caller.name)
        messages.success(request, f"{pair} {'asks no more' if decision == 'raise' else 'asks'}.")
    except ledger.CannotDecide as error:
        messages.error(request, f"Nothing was changed: {error}.")
    return redirect("overview")
