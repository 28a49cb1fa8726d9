"""The doors where people type a password."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render

from incidents import throttle

DOOR = "login"


def throttled(login: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """429 instead of `login` after too many wrong passwords from one address, the right one included.

    Counted before the password is checked, and taken back when it was right: so attempts side by side do not
    pass together, and a refused one costs no slow hash.
    """

    @wraps(login)
    def guarded(request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
        if request.method != "POST":
            return login(request, *args, **options)
        wait = throttle.attempt(request, DOOR)
        if wait is not None:
            return _too_many(request, wait)
        answer = login(request, *args, **options)
        if isinstance(answer, HttpResponseRedirect):  # a wrong password shows the form again
            throttle.refund(request, DOOR)
        return answer

    return guarded


def _too_many(request: HttpRequest, wait: int) -> HttpResponse:
    page = render(request, "registration/too_many.html", {"wait": wait}, status=429)
    page["Retry-After"] = str(wait)
    return page
