"""The pages for people: the overview, and an incident with its decisions."""

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
from django.views.decorators.http import require_POST, require_safe

from agents import ledger, pages, pauses, services, slo
from agents.forms import AnnotationForm, PauseHereForm, RejectionForm
from agents.models import Action, Autonomy, Pause
from incidents import services as incident_services
from incidents.access import Caller, caller_of
from incidents.models import Incident, Role

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
def overview(request: HttpRequest, caller: Caller) -> HttpResponse:
    return render(request, "overview.html", pages.overview(caller))


@require_safe
@needs(Role.VIEWER)
def service_levels(request: HttpRequest, caller: Caller) -> HttpResponse:
    return render(request, "slo.html", slo.recent(SLO_WEEKS))


@require_safe
@needs(Role.VIEWER)
def incident(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    found = _incident(pk)
    context = pages.incident_page(found, caller)
    form = AnnotationForm(initial={"cause": found.human_cause, "note": found.human_note})
    return render(request, "incident.html", {**context, "form": form})


@require_POST
@needs(Role.OPERATOR)
def decide(request: HttpRequest, caller: Caller, pk: str, action_id: str, decision: str) -> HttpResponse:
    """A person's yes, no or once more, from the overview or the incident's page."""
    action = get_object_or_404(Action.objects.select_related("target"), pk=action_id, incident=pk)
    try:
        if decision == "approve":
            services.approve(action, by=caller.name)
            messages.success(request, f"Approved: {action}.")
        elif decision == "ask-again":
            services.ask_again(action, by=caller.name)
            messages.success(request, "The Healer looks at it again.")
        else:
            _reject(request, action, by=caller.name)
    except (services.NotWaiting, services.CannotAsk) as error:
        messages.error(request, f"Too late, nothing was changed: {error}.")
    return redirect("incident", pk=pk)


def _reject(request: HttpRequest, action: Action, *, by: str) -> None:
    form = RejectionForm(request.POST)
    if form.is_valid():
        services.reject(action, by=by, **form.cleaned_data)
        messages.success(request, f"Rejected: {action}.")
    else:
        messages.error(request, f"Nothing was changed: {form.errors.as_text()}")


@require_POST
@needs(Role.OPERATOR)
def acknowledge(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    found = _incident(pk)
    if incident_services.acknowledge(found, by=caller.name):
        messages.success(request, "Acknowledged.")
    else:
        messages.info(request, f"It was acknowledged before by {found.acknowledged_by}.")
    return redirect("incident", pk=pk)


@require_POST
@needs(Role.OPERATOR)
def hand(request: HttpRequest, caller: Caller, pk: str, whose: str) -> HttpResponse:
    """A person has it, or it is the crew's again."""
    act = incident_services.take_over if whose == "take-over" else incident_services.give_back
    if act(_incident(pk), by=caller.name):
        messages.success(request, "You have it." if whose == "take-over" else "The crew goes on.")
    else:
        messages.info(request, "Nothing was changed: it was so before, or the incident is over.")
    return redirect("incident", pk=pk)


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


@require_POST
@needs(Role.OPERATOR)
def annotate(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """What a person knows better: the cause, a note, and by the button pressed, how it ended."""
    found = _incident(pk)
    form = AnnotationForm(request.POST)
    if form.is_valid():
        incident_services.annotate(found, by=caller.name, **form.annotation())
        messages.success(request, "Noted.")
    else:
        messages.error(request, f"Not noted: {form.errors.as_text()}")
    return redirect("incident", pk=pk)


def _incident(pk: str) -> Incident:
    found: Incident = get_object_or_404(Incident.objects.select_related("target", "previous"), pk=pk)
    return found
