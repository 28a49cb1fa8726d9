"""The page of the channels: where people are told, what was told lately, and a test of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, Max, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from incidents import channels, notifications
from incidents.adminbase import LATELY, latest, page
from incidents.models import Notification
from incidents.queue import State


@dataclass(frozen=True)
class Channel:
    """One place where people are told. `sent_at`: its last message; None when it got none lately."""

    name: str
    told: str
    sent_at: datetime | None
    given_up: int


@require_safe
def channels_page(request: HttpRequest) -> HttpResponse:
    return page(request, "admin/pages/channels.html", "Channels", channels=_channels(), lately=LATELY)


@require_POST
def send_test(request: HttpRequest, name: str) -> HttpResponse:
    """Send a word to one channel now, and say what came back."""
    if channels.url_of(name) is None:
        raise Http404(f"no channel is called {name}")
    try:
        notifications.send_test(name, by=request.user.get_username())
    except notifications.NotifyError as error:
        messages.error(request, f"{name}: {error}")
    else:
        messages.success(request, f"{name} took the test message.")
    return redirect(f"{admin.site.name}:channels")


def _channels() -> list[Channel]:
    told = {name: "at once" for name, _ in channels.channels()}
    for place, (name, _) in enumerate(channels.escalation_channels(), start=1):
        told[name] = f"when nobody answers a critical for {place * settings.ESCALATE_MINUTES} min"
    lately = _lately()
    return [Channel(name, when, *lately.get(name, (None, 0))) for name, when in told.items()]


def _lately() -> dict[str, tuple[datetime | None, int]]:
    """By channel, of the newest messages: when the last one was sent, and how many were given up."""
    rows = latest(Notification).order_by().values("channel")
    counted = rows.annotate(sent=Max("sent_at"), given_up=Count("pk", filter=Q(state=State.DEAD)))
    return {row["channel"]: (row["sent"], row["given_up"]) for row in counted}
