"""The page of the first steps: what to paste where, a token, and a test alert that is followed to its end."""

from __future__ import annotations

import secrets

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from agents import first_steps, rehearsal
from agents.views import needs
from incidents.access import Caller, create_token
from incidents.models import Role


@require_safe
@needs(Role.VIEWER)
def show(request: HttpRequest, caller: Caller) -> HttpResponse:
    return render(request, "connect.html", first_steps.context(request, caller))


@require_POST
@needs(Role.ADMIN)
def make_token(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The page with a new token in its snippets. It is an answer to this POST alone, and kept nowhere."""
    name = f"alertmanager-{secrets.token_hex(3)}"
    _row, token = create_token(name=name, role=Role.INGEST, by=caller.name)
    context = {**first_steps.context(request, caller, token), "token_name": name}
    return render(request, "connect.html", context)


@require_POST
@needs(Role.OPERATOR)
def send_test(request: HttpRequest, caller: Caller) -> HttpResponse:
    incident = rehearsal.send(by=caller.name)
    seconds = int(rehearsal.LASTS.total_seconds())
    messages.success(request, f"A test alert was sent. It ends by itself in {seconds} s; watch it here.")
    return redirect("incident", pk=incident)
