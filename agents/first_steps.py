"""What an install shows that nothing has come to yet: how others are made to send, and to what address."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from agents import rehearsal
from incidents import connect
from incidents.access import Caller
from incidents.models import Delivery, Role


def context(request: HttpRequest, caller: Caller, token: str | None = None) -> dict[str, Any]:
    """`token`: one that was made just now; it is shown this once."""
    url = settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
    others = Delivery.objects.exclude(source=rehearsal.SOURCE).order_by("-pk")
    return {
        "may_test": caller.may(Role.OPERATOR),
        "may_make_tokens": caller.may(Role.ADMIN),
        "url": url,
        "guessed": settings.PUBLIC_URL is None,
        "token": token,
        "placeholder": connect.PLACEHOLDER,
        "first_run_file": connect.first_run_file() if caller.may(Role.ADMIN) else None,
        "snippets": connect.snippets(url, token or connect.PLACEHOLDER),
        "delivered": others.values("received_at", "source", "alerts").first(),
    }
