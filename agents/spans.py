"""The crew's spans, in the names of OpenTelemetry's conventions for generative AI (status: development).

What was asked and answered is not in them: the records have it, redacted (`Step.brief`, `ToolCall`,
`ModelCall`). No Django here: the loop is run without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind

from incidents import tracing
from incidents.redaction import clean

PORTS = {"http": 80, "https": 443}
LONGEST = 120  # of each text that a model's server names
MOST_CHOICES = 8
PROVIDER = "homelab"  # of agents and their tools: they run here, whichever model thinks


def agent(name: str) -> dict[str, str]:
    """The attributes of an agent's turn, `invoke_agent NAME`."""
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.agent.name": name,
    }


def tool(name: str | None, call_id: str) -> AbstractContextManager[Span]:
    """A tool runs. `name` is None when there is no such tool: what a model made up is no name of a span."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.tool.call.id": call_id,
        "gen_ai.tool.type": "function",
    }
    if name is not None:
        attributes["gen_ai.tool.name"] = name
    return tracing.span(f"execute_tool {name or ''}".rstrip(), attributes=attributes)


def chat(model: str, base_url: str) -> AbstractContextManager[Span]:
    """A request to a model. The provider is the protocol's: who really answers, the address tells."""
    where = urlsplit(base_url)
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "server.address": where.hostname or "",
        "server.port": where.port or PORTS.get(where.scheme, 0),
    }
    return tracing.span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes)


def answered(span: Span, response: Mapping[str, Any], usage: Mapping[str, int | None]) -> None:
    """What came back, without its words. `usage`: tokens by the end of their names; None is unknown."""
    if not span.is_recording():
        return
    known = {
        "gen_ai.response.id": _named(response.get("id")),
        "gen_ai.response.model": _named(response.get("model")),
        "gen_ai.response.finish_reasons": list(_reasons(response.get("choices"))),
        **{f"gen_ai.usage.{name}": count for name, count in usage.items()},
    }
    span.set_attributes({name: value for name, value in known.items() if value is not None})


def _reasons(choices: Any) -> Iterator[str]:
    for each in choices[:MOST_CHOICES] if isinstance(choices, list) else ():
        reason = _named(each.get("finish_reason")) if isinstance(each, Mapping) else None
        if reason is not None:
            yield reason


def _named(value: Any) -> str | None:
    """A name that a server gave; it may send any JSON there."""
    return clean(value[:LONGEST]) if isinstance(value, str) and value else None
