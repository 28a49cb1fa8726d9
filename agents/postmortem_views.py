"""The postmortem for people: a page that prints well, and a file. What tools gave out is for operators."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from agents import postmortem
from agents.models import Step
from agents.postmortem.asking import ask
from agents.postmortem.markdown import markdown
from agents.reasoners import rungs
from agents.views import needs
from incidents.access import Caller
from incidents.models import Incident, Role
from incidents.queue import LIVE


@require_safe
@needs(Role.VIEWER)
def page(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    incident = _incident(pk)
    is_operator = caller.may(Role.OPERATOR)
    asked = Step.objects.filter(run__incident=incident, agent=Step.Agent.POSTMORTEM)
    context = {
        "made": postmortem.of(incident, outputs=is_operator),
        "incident": incident,
        "may_ask": is_operator and bool(rungs.configured()),
        "writing": asked.filter(state__in=LIVE).exists(),
    }
    return render(request, "postmortem.html", context)


@require_safe
@needs(Role.VIEWER)
def file(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    made = postmortem.of(_incident(pk), outputs=caller.may(Role.OPERATOR))
    answer = HttpResponse(markdown(made), content_type="text/markdown; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="postmortem-{made.incident}.md"'
    return answer


@require_POST
@needs(Role.OPERATOR)
def summarize(request: HttpRequest, caller: Caller, pk: str) -> HttpResponse:
    """A person wants the summary in a model's words."""
    if ask(_incident(pk), by=caller.name) is not None:
        messages.success(request, "The summary is being written.")
    else:
        messages.info(request, "The crew has not begun: there is nothing to tell yet.")
    return redirect("postmortem", pk=pk)


def _incident(pk: str) -> Incident:
    found: Incident = get_object_or_404(Incident.objects.select_related("target"), pk=pk)
    return found
