"""Where people are told: NOTIFY_URLS, all at once, and ESCALATION_URLS, one after the other.

A channel's name is its scheme and its place in its setting; URLs hold secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings

NO_CHANNEL = "none"


def channels() -> Iterator[tuple[str, str]]:
    """(name, URL) of each channel that is told first."""
    for place, url in enumerate(settings.NOTIFY_URLS, start=1):
        yield f"{urlsplit(url).scheme}-{place}", url


def escalation_channels() -> Iterator[tuple[str, str]]:
    """(name, URL) of each that is told when nobody answers, in their order; none when that is turned off."""
    if settings.ESCALATE_MINUTES:
        for place, url in enumerate(settings.ESCALATION_URLS, start=1):
            yield f"{urlsplit(url).scheme}-escalation-{place}", url


def url_of(name: str) -> str | None:
    """None when the channel is no longer in the settings."""
    return dict([*channels(), *escalation_channels()]).get(name)


def levels() -> list[list[str]]:
    """Names of channels by when they are told of a critical: the first, each escalation, the first again.

    Without an escalation the first alone.
    """
    first = [name for name, _url in channels()]
    further = [[name] for name, _url in escalation_channels()]
    return [first, *further, first] if further else [first]


def summary() -> str | None:
    """All of them in words; None when nobody is told."""
    first, *further = levels()
    if not first:
        return None
    told = ", ".join(first)
    if not further:
        return told
    then = ", then ".join(name for name, _url in escalation_channels())
    return f"{told}; a critical that nobody answers in {settings.ESCALATE_MINUTES} min: {then}"
