"""The link in a message, its own credential: for one question, by who has the message in hand.

It is signed, and opens nothing but its question: a yes or a no, *ask again*, a pause of the target. What was
answered is answered; used again it only shows how things stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.urls import reverse

from agents.models import Action

SALT = "homelab.agents.links"
LIVES = timedelta(days=7)


class BadLink(Exception):
    """It was not made here, or is too old."""


@dataclass(frozen=True)
class Link:
    """To an action's question, from a message in a channel."""

    action_id: int
    channel: str

    @property
    def holder(self) -> str:
        """Who answers by it, for the audit: a link does not know its reader's name."""
        return f"link in {self.channel}"


def url(action: Action, channel: str) -> str | None:
    """The address, None while PUBLIC_URL does not say where we are."""
    if settings.PUBLIC_URL is None:
        return None
    return f"{settings.PUBLIC_URL}{reverse('link', args=[sign(action.pk, channel)])}"


def sign(action_id: int, channel: str) -> str:
    return _signer().sign(f"{action_id}-{channel}")


def read(token: str) -> Link:
    """The link that was signed; BadLink when it is not ours, or older than LIVES."""
    try:
        action_id, _, channel = _signer().unsign(token, max_age=LIVES).partition("-")
    except signing.BadSignature as error:
        raise BadLink(str(error)) from error
    return Link(int(action_id), channel)


def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=SALT, sep=".")  # a colon would end the link in some chats
