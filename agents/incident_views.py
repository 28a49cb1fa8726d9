"""An incident's page, its plot and its record, and what a person does there."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import condition, require_POST, require_safe

from agents import again, incident_page, plot, questions
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
    marks = [(mark, drawn.when(mark.at, zone)) for mark in drawn.shown_marks]
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
            questions.approve(action, by=caller.name)
            messages.success(request, f"Approved: {action}.")
        elif decision == "ask-again":
            questions.ask_again(action, by=caller.name)
            messages.success(request, "The Healer looks at it again.")
        else:
            _reject(request, action, by=caller.name)
    except (questions.NotWaiting, questions.CannotAsk) as error:
        messages.error(request, f"Too late, nothing was changed: {error}.")
    return redirect("incident", pk=pk)


def _reject(request: HttpRequest, action: Action, *, by: str) -> None:
    form = RejectionForm(request.POST)
    if _is_usable(request, form, "Nothing was changed"):
        questions.reject(action, by=by, **form.cleaned_data)
        messages.success(request, f"Rejected: {action}.")


@require_POST
@needs(Role.OPERATOR)
def acknowledge(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    found = _incident(pk)
    done = incident_services.acknowledge(found, by=caller.name)
    _say(request, done, "Acknowledged.", "It was acknowledged before.")
    return redirect("incident", pk=pk)


@require_POST
@needs(Role.OPERATOR)
def hand(request: HttpRequest, caller: Caller, pk: str, whose: str) -> HttpResponse:
    """A person has it, or it is the crew's again."""
    act = incident_services.take_over if whose == "take-over" else incident_services.give_back
    done = act(_incident(pk), by=caller.name)
    _say(request, done, "You have it." if whose == "take-over" else "The crew goes on.", UNCHANGED)
    return redirect("incident", pk=pk)


@require_POST
@needs(Role.OPERATOR)
def annotate(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """What a person knows better: the cause, a note, and by the button pressed, how it ended."""
    found, form = _incident(pk), AnnotationForm(request.POST)
    if _is_usable(request, form, "Not noted"):
        said = form.annotation()
        if said:
            incident_services.annotate(found, by=caller.name, **said)
        _say(request, bool(said), "Noted.", "Nothing was changed: that is how it stood.")
    return redirect("incident", pk=pk)


@require_POST
@needs(Role.OPERATOR)
def rate(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """A person's word on the crew's cause."""
    found, form = _incident(pk), RatingForm(request.POST)
    if _is_usable(request, form, "Not rated"):
        done = incident_services.rate(found, by=caller.name, rating=Rating(form.cleaned_data["rating"]))
        otherwise = "Not rated: the crew says nothing of the cause, or something else by now."
        _say(request, done, "Rated. The memory learns of it.", otherwise)
    return redirect("incident", pk=pk)


@require_POST
@needs(Role.OPERATOR)
def note(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """A line of the timeline."""
    found, form = _incident(pk), NoteForm(request.POST)
    if _is_usable(request, form, "Not added"):
        incident_services.add_note(found, by=caller.name, **form.cleaned_data)
        messages.success(request, "Added to the story.")
    return redirect("incident", pk=pk)


@require_POST
@needs(Role.OPERATOR)
def escalate(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """Others are called, now."""
    found, form = _incident(pk), EscalationForm(request.POST)
    if _is_usable(request, form, "Nobody was called"):
        done = incident_services.escalate(found, by=caller.name, **form.cleaned_data)
        otherwise = "Nobody was called: the incident is over, or such a call is on its way."
        _say(request, done, "The others are called; the story says whom.", otherwise)
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


def _is_usable(request: HttpRequest, form: forms.Form, otherwise: str) -> bool:
    """Whether a form can be used; if not, who sent it is told why."""
    if not form.is_valid():
        messages.error(request, f"{otherwise}: {form.errors.as_text()}")
    return form.is_valid()


def _say(request: HttpRequest, done: bool, yes: str, no: str) -> None:
    """What came of it."""
    messages.add_message(request, messages.SUCCESS if done else messages.INFO, yes if done else no)


def _incident(pk: str) -> Incident:
    found: Incident = get_object_or_404(Incident.objects.select_related("target", "previous"), pk=pk)
    return found
