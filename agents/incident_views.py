"""An incident's page, its plot and its record, and what a person does there."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import condition, require_POST, require_safe

from agents import again, incident_page, plot, services
from agents import chart as charts
from agents.forms import AnnotationForm, EscalationForm, NoteForm, RatingForm, RejectionForm
from agents.models import Action
from agents.tools.base import ToolError
from agents.views import needs
from incidents import services as incident_services
from incidents.access import Caller
from incidents.models import Incident, Rating, Role
from incidents.redaction import clean

NARROWEST, WIDEST = 280, 1000  # pixels of a plot
UNCHANGED = "Nothing was changed: it was so before, or the incident is over."


@require_safe
@needs(Role.VIEWER)
@condition(etag_func=lambda request, caller, pk: incident_page.version(pk, caller))
def incident(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    return render(request, "incident.html", incident_page.context(_incident(pk), caller))


@require_safe
@needs(Role.VIEWER)
def record(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    return render(request, "incident/record.html", incident_page.record(_incident(pk), caller))


@require_safe
@needs(Role.VIEWER)
def chart(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """The plot, as a page of its own from which the incident's page takes it. `width`: in pixels."""
    found = _incident(pk)
    context: dict[str, Any] = {"incident": found}
    try:
        signal = charts.kept(found) or charts.read(found)
    except ToolError as error:
        return render(request, "incident/chart.html", {**context, "why": clean(str(error))})
    drawn, zone = charts.plot(found, signal), ZoneInfo(settings.TIME_ZONE)
    context |= {"signal": signal, "plot": drawn, "svg": plot.svg(drawn, width=_width(request), zone=zone)}
    marks = [{"mark": mark, "time": plot.when(mark.at, zone)} for mark in drawn.shown_marks]
    return render(request, "incident/chart.html", {**context, "marks": marks})


def _width(request: HttpRequest) -> int:
    wanted = request.GET.get("width", "")
    return min(max(int(wanted), NARROWEST), WIDEST) if wanted.isdecimal() and len(wanted) < 6 else WIDEST


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
        messages.info(request, UNCHANGED)
    return redirect("incident", pk=pk)


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


@require_POST
@needs(Role.OPERATOR)
def rate(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """A person's word on the crew's cause."""
    found = _incident(pk)
    form = RatingForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"Not rated: {form.errors.as_text()}")
    elif incident_services.rate(found, by=caller.name, rating=Rating(form.cleaned_data["rating"])):
        messages.success(request, "Rated. The memory learns of it.")
    else:
        messages.info(request, "Not rated: the crew says nothing of the cause, or something else by now.")
    return redirect("incident", pk=pk)


@require_POST
@needs(Role.OPERATOR)
def note(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """A line of the timeline."""
    found = _incident(pk)
    form = NoteForm(request.POST)
    if form.is_valid():
        incident_services.add_note(found, by=caller.name, text=form.cleaned_data["text"])
        messages.success(request, "Added to the story.")
    else:
        messages.error(request, f"Not added: {form.errors.as_text()}")
    return redirect("incident", pk=pk)


@require_POST
@needs(Role.OPERATOR)
def escalate(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """Others are called, now."""
    found = _incident(pk)
    form = EscalationForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"Nobody was called: {form.errors.as_text()}")
    elif incident_services.escalate(found, by=caller.name, why=form.cleaned_data["why"]):
        messages.success(request, "The others are called; the story says whom.")
    else:
        messages.info(request, "Nobody was called: the incident is over, or such a call is on its way.")
    return redirect("incident", pk=pk)


@require_POST
@needs(Role.OPERATOR)
def investigate(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """Once more from the beginning."""
    try:
        run = again.investigate(_incident(pk), by=caller.name)
        messages.success(request, f"The crew begins anew: run {run.number}.")
    except again.CannotInvestigate as error:
        messages.error(request, f"Nothing was changed: {error}.")
    return redirect("incident", pk=pk)


def _incident(pk: str) -> Incident:
    found: Incident = get_object_or_404(Incident.objects.select_related("target", "previous"), pk=pk)
    return found
