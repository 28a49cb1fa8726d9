"""What the running piece of work is about, for log lines, and for the rows that it opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class About(NamedTuple):
    """None: from no request, about no incident, not a step's."""

    request_id: str | None = None
    incident_id: int | None = None
    agent: str | None = None
    step: int | None = None


class Origin(NamedTuple):
    """Where work comes from: its request's X-Request-ID, and its span as W3C's `traceparent` writes it.

    None: from no request; not traced.
    """

    request_id: str | None = None
    traceparent: str | None = None


NOTHING = About()
current: ContextVar[About] = ContextVar("about", default=NOTHING)
# Who makes the request that is being answered: a function, for nobody is looked up who is not asked for.
person: ContextVar[Callable[[], str] | None] = ContextVar("person", default=None)


@contextmanager
def about(
    *,
    request_id: str | None = None,
    incident_id: int | None = None,
    agent: str | None = None,
    step: int | None = None,
) -> Iterator[None]:
    """Log lines say so while it lasts. What is None here stays as it was outside."""
    outside = current.get()
    token = current.set(
        About(
            request_id or outside.request_id,
            incident_id or outside.incident_id,
            agent or outside.agent,
            step or outside.step,
        )
    )
    try:
        yield
    finally:
        current.reset(token)
