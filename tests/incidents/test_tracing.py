"""Where work on an incident stands in its trace, and what a span says of a failure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from incidents import context, tracing
from incidents.context import Origin

OPENING = f"00-{'a' * 32}-{'b' * 16}-01"


@dataclass
class Incident:
    traceparent: str | None = OPENING
    age: timedelta = timedelta(0)
    pk: int = 7
    request_id: str | None = "r-1"

    @property
    def opened_at(self) -> datetime:
        return datetime.now(UTC) - self.age


OLD = Incident(age=tracing.CONTINUES + timedelta(seconds=1))


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans of this test."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(tracing, "tracer", provider.get_tracer("test"))
    return kept


def one(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    [found] = [span for span in spans.get_finished_spans() if span.name == name]
    return found


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def test_work_goes_on_below_the_request_that_opened_its_incident(spans: InMemorySpanExporter) -> None:
    with tracing.work(Incident(), "work"):
        assert tracing.origin().request_id == "r-1"
    span = one(spans, "work")
    assert trace_of(span) == "a" * 32
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b" * 16
    assert span.attributes is not None
    assert span.attributes["homelab.incident.id"] == 7


def test_what_led_there_from_another_trace_is_linked(spans: InMemorySpanExporter) -> None:
    with tracing.span("approval"), tracing.work(Incident(), "work"):
        pass
    [link] = one(spans, "work").links
    assert trace_of(one(spans, "work")) == "a" * 32
    assert link.context == one(spans, "approval").context


def test_what_led_there_in_the_same_trace_is_its_parent(spans: InMemorySpanExporter) -> None:
    with tracing.processing("crew", {"traceparent": OPENING}), tracing.work(Incident(), "work"):
        pass
    parent = one(spans, "work").parent
    assert parent == one(spans, "process crew").context
    assert one(spans, "work").links == ()


def test_what_is_done_long_after_has_a_trace_of_its_own_and_links_back(spans: InMemorySpanExporter) -> None:
    with tracing.work(OLD, "look"):
        pass
    [link] = one(spans, "look").links
    assert one(spans, "look").parent is None
    assert f"{link.context.trace_id:032x}" == "a" * 32


def test_an_incident_that_was_not_traced(spans: InMemorySpanExporter) -> None:
    with tracing.work(Incident(traceparent=None), "work"):
        pass
    assert (one(spans, "work").parent, one(spans, "work").links) == (None, ())


def test_a_message_carries_its_request_and_its_span(spans: InMemorySpanExporter) -> None:
    with context.about(request_id="r-2"), tracing.span("request"):
        headers = tracing.headers()
    with tracing.processing("crew", headers):
        assert context.current.get().request_id == "r-2"
    parent = one(spans, "process crew").parent
    assert parent is not None
    assert parent.span_id == one(spans, "request").context.span_id


def test_a_message_of_nobody_has_no_span(spans: InMemorySpanExporter) -> None:
    assert tracing.headers() == {}
    with tracing.processing("crew", {}) as span:
        assert span is None
    assert spans.get_finished_spans() == ()


@pytest.mark.parametrize("several", [[], [Origin("a", OPENING), Origin("b", None)]])
def test_for_several_at_once_nobody_is_named(several: list[Origin]) -> None:
    with tracing.on_behalf_of(several):
        assert tracing.origin() == Origin()
    with tracing.on_behalf_of([Origin("a", OPENING), Origin("a", OPENING)]):
        assert tracing.origin() == Origin("a", OPENING)


def test_a_failure_is_named_and_its_words_are_not_kept(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="hunter2"), tracing.span("work"):
        raise ValueError("hunter2")
    span = one(spans, "work")
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"
    assert "hunter2" not in span.to_json()


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        OPENING.upper(),
        f"{OPENING}-00",
        f"01{OPENING[2:]}",
        f"00-{'0' * 32}-{'b' * 16}-01",
        "\n",
    ],
)
def test_what_is_no_traceparent_is_none(text: str | None) -> None:
    assert tracing.parse(text) is None


def test_without_an_sdk_nothing_is_known_of_spans() -> None:
    with tracing.span("work"):
        assert tracing.origin() == Origin()
