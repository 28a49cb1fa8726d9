"""The runbooks that a diagnosis cites, for the people who are told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from agents import evidence, transcript
from agents.models import Step, ToolCall


@dataclass(frozen=True)
class Cited:
    """`calls`: ids of the calls that read runbooks. `lines`: a runbook each, as `runbook: path, section`."""

    calls: frozenset[str] = frozenset()
    lines: tuple[str, ...] = ()


def cited(step: Step) -> Cited:
    """What the found quotes of an Analyst's answer were taken from."""
    if settings.RUNBOOKS_DIR is None:
        return Cited()
    claims = [claim for claim in (step.output or {}).get("claims", ()) if claim["found"]]
    named = {claim["call_id"] for claim in claims}
    rows = ToolCall.objects.filter(step__run=step.run_id, tool=transcript.RUNBOOKS, call_id__in=named)
    calls = dict(rows.values_list("call_id", "data"))
    lines = [line for claim in claims for line in _line(claim["quote"], calls.get(claim["call_id"], {}))]
    return Cited(frozenset(calls), tuple(dict.fromkeys(lines)))


def _line(quote: str, data: Mapping[str, Any]) -> Iterator[str]:
    """The section that holds the quote, or whose name it is."""
    for section in data.get("runbooks", ()):
        if evidence.find(quote, f"{section['cite']}\n{section['text']}"):
            why = f" ({section['why']})" if section["score"] < 1 else ""  # nobody named it for the alert
            url = f" {section['url']}" if section["url"] else ""
            yield f"R{section['cite'][1:]}{why}{url}"  # `cite` begins with `runbook`
            return
