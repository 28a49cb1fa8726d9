"""A small OTLP/HTTP receiver on loopback, which keeps the spans that it was sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto

from tests.storm.web import Answer, Asked, Server

from .process import wait_until

KINDS = {
    Proto.SpanKind.Value(f"SPAN_KIND_{name}"): name
    for name in ("INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
}


@dataclass(frozen=True)
class Span:
    """Ids are hexadecimal; `parent` is empty for a root; `links` are the spans that it links to."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, Any]
    error: str | None
    service: dict[str, Any]
    raw: str


class Receiver:
    """`url` is for OTEL_EXPORTER_OTLP_ENDPOINT; `headers` and `paths` are those of the requests."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.paths: list[str] = []
        self._server = Server(self._take)
        self.url = self._server.url

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def _take(self, asked: Asked) -> Answer:
        self.paths.append(asked.path)
        request = ExportTraceServiceRequest.FromString(asked.body)
        for batch in request.resource_spans:
            service = _values(batch.resource.attributes)
            for scope in batch.scope_spans:
                self.spans.extend(_span(each, service) for each in scope.spans)
        return Answer(200, b"", "application/x-protobuf")

    def wait(self, what: str, wanted: Callable[[Span], bool], seconds: float = 30) -> Span:
        """The first span that is wanted, be it to come."""
        return wait_until(
            lambda: next((span for span in list(self.spans) if wanted(span)), None),
            seconds,
            f"no span {what}; there are {[span.name for span in self.spans]}",
        )

    def of(self, trace: str) -> list[Span]:
        return [span for span in list(self.spans) if span.trace == trace]

    def is_whole(self, trace: str) -> bool:
        """Whether each span's parent has come, but for one root."""
        mine = self.of(trace)
        known = {span.id for span in mine}
        return sum(span.parent not in known for span in mine) == 1

    def tree(self, trace: str) -> str:
        """A trace as indented text, for the terminal."""
        mine = self.of(trace)
        known = {span.id for span in mine}

        def below(parent: str | None, depth: int) -> list[str]:
            found = [s for s in mine if s.parent == parent or (parent is None and s.parent not in known)]
            return [
                line
                for span in found
                for line in (f"{'  ' * depth}{span.name} [{span.kind}]", *below(span.id, depth + 1))
            ]

        return "\n".join(below(None, 0))


def _span(each: Proto, service: dict[str, Any]) -> Span:
    return Span(
        name=each.name,
        kind=KINDS[each.kind],
        trace=each.trace_id.hex(),
        id=each.span_id.hex(),
        parent=each.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in each.links),
        attributes=_values(each.attributes),
        error=each.status.message if each.status.code == each.status.STATUS_CODE_ERROR else None,
        service=service,
        raw=str(each),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
