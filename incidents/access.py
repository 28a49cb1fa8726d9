"""Who may do what: bearer tokens with a role, logged-in people, and the few open doors."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from incidents import events, throttle
from incidents.models import Event, Role, Token

if TYPE_CHECKING:  # at run time a circle: DRF's views import the settings, which name this module
    from rest_framework.views import APIView

MAX_NAME = 100
# A role's place in the line; `ingest` stands beside it and may only post alerts.
RANK = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}
REMEMBER_SECONDS = 1.0
_remembered: dict[str, tuple[Token, float]] = {}  # by digest; only such as are good


@dataclass(frozen=True)
class Caller:
    """Who makes a request, whichever way they showed it."""

    name: str
    role: Role
    source: str = "api"

    def may(self, needed: Role) -> bool:
        if needed == Role.INGEST:
            return self.role in (Role.INGEST, Role.ADMIN)
        return RANK.get(self.role, 0) >= RANK[needed]


def hash_token(secret: str) -> str:
    """SHA-256: the secret has 256 bits of its own, so a slow hash would add nothing but time per alert."""
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic
def create_token(
    *, name: str, role: str, source: str = "alertmanager", by: str | None = None
) -> tuple[Token, str]:
    """A new token and its secret, which is kept nowhere. `by`: who made it, for the audit.

    ValueError when the name or the source says nothing, or too much.
    """
    for what, text in (("name", name), ("source", source)):
        if not text.strip() or len(text) > MAX_NAME:
            raise ValueError(f"a token's {what} wants 1 to {MAX_NAME} characters that can be seen")
    secret = f"hl_{secrets.token_urlsafe(32)}"
    token = Token.objects.create(name=name, role=role, source=source, digest=hash_token(secret))
    if by is not None:
        events.record(None, Event.Kind.TOKEN, by, f"made {token}")
    return token, secret


@transaction.atomic
def revoke_token(token: Token, *, by: str) -> bool:
    """Refuse a token from now on; False when it was revoked before."""
    won = Token.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
    _remembered.pop(token.digest, None)
    if won:
        events.record(None, Event.Kind.TOKEN, by, f"revoked {token.name}")
    return bool(won)


class TokenUser(AnonymousUser):
    """The user of a request that came with a token."""

    def __init__(self, token: Token) -> None:
        super().__init__()
        self.token = token
        self.username = token.name  # type: ignore[assignment]

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]
        return True


def _token_of(digest: str) -> Token | None:
    """The token, None when it is unknown or revoked.

    A sender that storms is looked up once in REMEMBER_SECONDS; a revoked token works no longer than that.
    """
    now = time.monotonic()
    token, until = _remembered.get(digest, (None, 0.0))
    if now < until:
        return token
    token = Token.objects.filter(digest=digest).first()
    if token is None or not token.matches(digest):
        _remembered.pop(digest, None)
        return None
    _remembered[digest] = (token, now + REMEMBER_SECONDS)
    return token


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer TOKEN`. No session, thus no CSRF check.

    After too many unknown ones from an address, 429 in place of 401, but not by views that are
    `never_throttled`. A good one always works.
    """

    def authenticate(self, request: Request) -> tuple[TokenUser, Token] | None:
        header = get_authorization_header(request).split()
        if not header or header[0].lower() != b"bearer":
            return None
        if len(header) != 2:
            raise AuthenticationFailed("Authorization: wants 'Bearer TOKEN'")
        token = _token_of(hash_token(header[1].decode("latin-1")))
        if token is None:
            wait = throttle.attempt(request, "token")
            if wait is not None and not getattr(request.parser_context["view"], "never_throttled", False):
                raise Throttled(wait, "too many unknown tokens from your address")
            raise AuthenticationFailed("unknown or revoked token")
        return TokenUser(token), token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="homelab"'


def caller_of(user: Any) -> Caller | None:
    """The caller behind `request.user`; None for nobody.

    People: superusers are admins, staff are operators, others are viewers.
    """
    if isinstance(user, TokenUser):
        return Caller(user.token.name, Role(user.token.role), user.token.source)
    if not getattr(user, "is_authenticated", False) or not user.is_active:
        return None
    role = Role.ADMIN if user.is_superuser else Role.OPERATOR if user.is_staff else Role.VIEWER
    return Caller(user.get_username(), role)


def may(user: Any, role: Role) -> bool:
    """Whether the caller behind `request.user` may what this role may; nobody may anything."""
    found = caller_of(user)
    return found is not None and found.may(role)


def caller(request: Request) -> Caller:
    """The caller of a request that has passed `RolePermission` for more than open reading."""
    found = caller_of(request.user)
    if found is None:
        raise AuthenticationFailed("a token or a login is needed")
    return found


def reads(role: Role) -> dict[str, Role]:
    """The `needs` of a view whose reads are for this role or more."""
    return dict.fromkeys(SAFE_METHODS, role)


class RolePermission(BasePermission):
    """`view.needs` per method, else `viewer` to read and `operator` to write.

    HOMELAB_OPEN_READ opens views marked `open_read`.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method in SAFE_METHODS and settings.OPEN_READ and getattr(view, "open_read", False):
            return True
        default = Role.VIEWER if request.method in SAFE_METHODS else Role.OPERATOR
        needed: Role = getattr(view, "needs", {}).get(request.method, default)
        return may(request.user, needed)
