"""Spans, by the OpenTelemetry API alone: without an SDK, which `homelab.tracing` sets up, they do nothing.

Messages are hints that may be lost, merged or repeated, so it is the row that carries a trace: an incident
keeps the span of the request that opened it, and what is done about it goes on there, whatever message led to
it and whichever process died meanwhile. What is done after CONTINUES (an escalation, a look of a long watch)
has a trace of its own with a link back: traces of days are of no use to who reads them, and backends and
sampling collectors put a trace together from what comes within minutes.

No text of a prompt, a tool, an alert or a message is in a span.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from opentelemetry import context, trace
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
)

from incidents.context import Origin, about, current

CONTINUES = timedelta(minutes=10)
tracer = trace.get_tracer("homelab")
Attributes = Mapping[str, str | bool | int | float | Sequence[str] | Sequence[int]]
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Opened(Protocol):
    """What is read of an incident."""

    @property
    def pk(self) -> int: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def traceparent(self) -> str | None: ...
    @property
    def opened_at(self) -> datetime: ...


def traceparent() -> str | None:
    """The current span as W3C writes it; None without one."""
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return None
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"


def parse(text: str | None) -> SpanContext | None:
    """What `traceparent` wrote; None when there is none, or it cannot be read."""
    match = _TRACEPARENT.fullmatch(text or "")
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    found = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return found if found.is_valid else None


def origin() -> Origin:
    """Where a row that is made now comes from."""
    return Origin(current.get().request_id, traceparent())


class _Current:
    """A span that is the current one while it lasts. As the API's own, in half the time."""

    def __init__(self, begun: Span) -> None:
        self._begun = begun

    def __enter__(self) -> Span:
        self._token = context.attach(trace.set_span_in_context(self._begun))
        return self._begun

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        context.detach(self._token)
        if isinstance(error, Exception):
            failed(self._begun, str(getattr(error, "status", None) or type(error).__qualname__))
        self._begun.end()


def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: SpanContext | None = None,
    links: Sequence[Link] = (),
    attributes: Attributes | None = None,
) -> AbstractContextManager[Span]:
    """A span, by default below the current one. An exception ends it as failed, and goes on."""
    inside = trace.set_span_in_context(NonRecordingSpan(parent)) if parent else None
    return _Current(tracer.start_span(name, inside, kind=kind, links=links, attributes=attributes))


def failed(begun: Span, kind: str) -> None:
    """Mark a span as failed. `kind`: a status, or the error's class. Its words may repeat what was sent."""
    if begun.is_recording():
        begun.set_attribute("error.type", kind)
        begun.set_status(StatusCode.ERROR)


@contextmanager
def work(
    incident: Opened | None,
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
    agent: str | None = None,
    step: int | None = None,
) -> Iterator[Span]:
    """A piece of work on an incident: its span, and its name on log lines."""
    if incident is None:
        with span(name, kind=kind, attributes=attributes) as begun:
            yield begun
        return
    parent, links = _place(incident)
    mine = {"homelab.incident.id": incident.pk, **(attributes or {})}
    with (
        about(request_id=incident.request_id, incident_id=incident.pk, agent=agent, step=step),
        span(name, kind=kind, parent=parent, links=links, attributes=mine) as begun,
    ):
        yield begun


def _place(incident: Opened) -> tuple[SpanContext | None, list[Link]]:
    """Below the opening, or below what led here, each with a link to the other where they are two traces."""
    opening = parse(incident.traceparent)
    here = trace.get_current_span().get_span_context()
    if opening is None or here.trace_id == opening.trace_id:
        return None, []
    if datetime.now(UTC) - incident.opened_at < CONTINUES:
        return opening, [Link(here)] if here.is_valid else []
    return None, [Link(opening)]


def headers() -> dict[str, str]:
    """Of a message that is sent now: where it comes from.

    It has no span of its own until it is worked. To send a hint takes no time that anybody looks for, and a
    span for each would be most of what tracing costs a delivery.
    """
    return {name: value for name, value in origin()._asdict().items() if value is not None}


@contextmanager
def processing(destination: str, headers: Mapping[str, str]) -> Iterator[Span | None]:
    """A message with `headers` is worked; its span, when who sent it was traced."""
    sent = parse(headers.get("traceparent"))
    with about(request_id=headers.get("request_id")):
        if sent is None:
            yield None
            return
        attributes = {
            "messaging.system": "celery",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": destination,
        }
        name = f"process {destination}"
        with span(name, kind=SpanKind.CONSUMER, parent=sent, attributes=attributes) as begun:
            yield begun


@contextmanager
def on_behalf_of(origins: Iterable[Origin]) -> Iterator[None]:
    """Go on where others were; nowhere when they were several, for each has rows of its own that know it."""
    every = set(origins)
    only = every.pop() if len(every) == 1 else Origin()
    parent = parse(only.traceparent)
    with about(request_id=only.request_id):
        if parent is None:
            yield
            return
        token = context.attach(trace.set_span_in_context(NonRecordingSpan(parent)))
        try:
            yield
        finally:
            context.detach(token)
