"""What a span says of a model's answer, however odd that is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agents import reasoners, spans
from agents.models import Step
from incidents import tracing
from tests.agents.test_wire import brief_of
from tests.e2e import openai_server as oai

HALF = json.loads('"\\ud800"')  # of a character, which no UTF-8 can hold
REASONS = "gen_ai.response.finish_reasons"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans of this test."""
    made, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    monkeypatch.setattr(tracing, "tracer", provider.get_tracer("test"))
    return made


def said(kept: InMemorySpanExporter, response: dict[str, Any]) -> ReadableSpan:
    with spans.chat("asked", "http://model/v1") as span:
        spans.answered(span, response, {"input_tokens": 9, "output_tokens": None})
    return kept.get_finished_spans()[-1]


def test_what_was_answered(kept: InMemorySpanExporter) -> None:
    response = {"id": "a-1", "model": "exact", "choices": [{"finish_reason": "stop"}, {}]}
    attributes = dict(said(kept, response).attributes or {})
    assert attributes["gen_ai.response.id"] == "a-1"
    assert attributes["gen_ai.response.model"] == "exact"
    assert attributes[REASONS] == ("stop",)
    assert attributes["gen_ai.usage.input_tokens"] == 9
    assert "gen_ai.usage.output_tokens" not in attributes


@pytest.mark.parametrize(
    "response",
    [
        {"choices": [None]},
        {"choices": "stop"},
        {"choices": {"finish_reason": "stop"}},
        {"choices": [{"finish_reason": {"stop": 1}}, ["stop"], 7]},
        {"id": {"a": 1}, "model": ["m"]},
        {
            "id": "x" * 1_000_000,
            "model": "m" * 1_000_000,
            "choices": [{"finish_reason": "f" * 1_000_000}] * 99,
        },
        {"id": HALF, "model": HALF, "choices": [{"finish_reason": HALF}]},
    ],
    ids=["null", "text", "an object", "odd members", "odd names", "endless", "broken text"],
)
def test_an_odd_answer_makes_a_small_span_that_can_be_sent(
    kept: InMemorySpanExporter, response: dict[str, Any]
) -> None:
    assert len(encode_spans([said(kept, response)]).SerializeToString()) < 4_000


@pytest.mark.django_db
def test_traced_or_not_an_odd_answer_leads_down_the_ladder(
    model: Any, step: Step, kept: InMemorySpanExporter
) -> None:
    model(lambda request: oai.Response(body={"id": "x", "model": "m", "choices": [None]}))
    reasoners.think(step, brief_of(step))
    assert step.rung == "playbooks"
    assert {span.name for span in kept.get_finished_spans()} >= {"chat gpt-4o-mini"}
