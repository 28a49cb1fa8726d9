"""Single sign-on: who a trusted proxy (Authelia, Authentik) says is there, and in which groups.

Nothing of it is kept: no session is made, and no right is stored. A person is what the proxy says of them
with this very request, so a group that was taken away is gone with the next one.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from homelab.middleware import Handler, for_machines
from incidents.access import RANK
from incidents.api.errors import refusal
from incidents.clients import from_trusted_proxy
from incidents.context import person
from incidents.models import Role

LONGEST_NAME = 150
MAKER = "single sign-on"  # in the audit


class Refused(Exception):
    """The proxy knows this person; we do not let them in. The message is for them to read."""


class SingleSignOnMiddleware:
    """Sets `request.user` from the proxy's headers. They are dropped, whoever sent them: nothing else may
    read them. Not used without REMOTE_USER_HEADER.
    """

    def __init__(self, get_response: Handler) -> None:
        if settings.REMOTE_USER_HEADER is None:
            raise MiddlewareNotUsed
        self.get_response = get_response
        self.name_key = _meta_key(settings.REMOTE_USER_HEADER)
        self.groups_key = _meta_key(settings.REMOTE_GROUPS_HEADER)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        name = request.META.pop(self.name_key, None)
        groups = request.META.pop(self.groups_key, "")
        if name is None or for_machines(request) or not from_trusted_proxy(request):
            return self.get_response(request)
        try:
            request.user = _person(_readable(name), _groups(groups))
        except Refused as refused:
            request.user = AnonymousUser()
            return _refuse(request, str(refused))
        return self.get_response(request)


def _person(name: str, groups: list[str]) -> User:
    """The user of this name, with the role of these groups for as long as this request lasts."""
    roles = [settings.SSO_GROUPS[group] for group in groups if group in settings.SSO_GROUPS]
    if not roles:
        raise Refused(f"{name}, you are in none of the groups that SSO_GROUPS lets in.")
    user = _account(name)
    if not user.is_active:
        raise Refused(f"The account {name} is not active.")
    if user.has_usable_password():
        # two people may have this name, one here and one there
        raise Refused(
            f"The account {name} has a password here, so the proxy cannot open it. Under another address, an "
            "admin can disable its password (Records, Users)."
        )
    rank = max(RANK[Role(role)] for role in roles)
    user.is_staff, user.is_superuser = rank >= RANK[Role.OPERATOR], rank >= RANK[Role.ADMIN]
    return user


def _account(name: str) -> User:
    """Made at the first visit, and by nobody else: of this person nothing else is known yet."""
    token = person.set(lambda: MAKER)
    try:
        return User.objects.get_or_create(username=name, defaults={"password": make_password(None)})[0]
    finally:
        person.reset(token)


def _readable(name: str) -> str:
    """The name as people write it: headers come as Latin-1, proxies send UTF-8.

    A comma is what two headers of one name become, so one of them is somebody's who tried something.
    """
    try:
        text = User.normalize_username(name.encode("latin-1").decode()).strip()
    except UnicodeError:
        raise Refused("The proxy sent a name that cannot be read.") from None
    if not text.isprintable() or not 0 < len(text) <= LONGEST_NAME or "," in text:
        raise Refused("The proxy sent a name that cannot be used.")
    return text


def _groups(text: str) -> list[str]:
    """Authentik puts `|` between groups, everybody else a comma."""
    authentik = settings.REMOTE_GROUPS_HEADER.lower().startswith("x-authentik-")
    try:
        readable = text.encode("latin-1").decode()
    except UnicodeError:
        return []
    return [each.strip() for each in readable.split("|" if authentik else ",")]


def _refuse(request: HttpRequest, reason: str) -> HttpResponse:
    if "text/html" in request.headers.get("Accept", ""):
        return render(request, "registration/refused.html", {"reason": reason}, status=403)
    return refusal(request, 403, reason)


def _meta_key(header: str) -> str:
    """Where WSGI puts a header."""
    return "HTTP_" + header.upper().replace("-", "_")
