"""What each agent concluded, with the evidence as it stands in what the tools read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Left

from agents import quoted
from agents.models import ModelCall, Step, ToolCall
from agents.reasoners import THINKERS
from incidents.models import Incident

TURNS_SHOWN = 20
LONGEST_READING = 1_000_000  # characters, in which a quote is looked for


@dataclass(frozen=True)
class Claim:
    """A statement of a diagnosis with its evidence. `why`: for what reason it was struck, or empty."""

    text: str
    quote: str
    source: str
    why: str
    excerpt: quoted.Excerpt | None


@dataclass(frozen=True)
class Conclusion:
    """What an agent's turn came to. `by`: the rung that reasoned, and its models."""

    step: Step
    said: str
    certainty: str
    by: str
    claims: list[Claim]
    dropped: list[str]


def of_incident(incident: Incident, *, outputs: bool) -> list[Conclusion]:
    """The latest run first. `outputs`: with what stands around quotes, for who may see what tools read."""
    turns = sorted(_turns(incident), key=lambda turn: (-turn.run.number, turn.pk))
    cited = {claim["call_id"] for turn in turns for claim in _claims_of(turn)}
    calls = _readings(incident, cited, outputs)
    models: dict[int, list[str]] = {}
    asked = ModelCall.objects.filter(step__in=[turn.pk for turn in turns]).order_by()
    for step, model in asked.values_list("step", "model").distinct():
        models.setdefault(step, []).append(model)
    return [
        Conclusion(
            step=turn,
            said=_said(turn),
            certainty=str((turn.output or {}).get("certainty") or (turn.output or {}).get("state") or ""),
            by=", ".join(filter(None, (turn.rung, *models.get(turn.pk, ())))),
            claims=[_claim(claim, calls.get((turn.run_id, claim["call_id"]))) for claim in _claims_of(turn)],
            dropped=list((turn.output or {}).get("dropped", ())),
        )
        for turn in turns
    ]


def _turns(incident: Incident) -> list[Step]:
    """The last turns of agents that came to something."""
    rows = Step.objects.filter(run__incident=incident, agent__in=THINKERS, output__isnull=False)
    return list(rows.select_related("focus", "run").defer("brief").order_by("-id")[:TURNS_SHOWN])


def _claims_of(turn: Step) -> list[dict[str, Any]]:
    return list((turn.output or {}).get("claims", ()))


def _said(turn: Step) -> str:
    """The sentence that an agent's answer comes to."""
    output = turn.output or {}
    said = str(output.get("cause") or output.get("summary") or output.get("reason") or "")
    proposed = output.get("action")
    if turn.agent == Step.Agent.HEALER and proposed:
        return f"{'no action' if proposed == 'none' else proposed}: {said}"
    return said


def _readings(incident: Incident, cited: set[str], outputs: bool) -> dict[tuple[int, str], ToolCall]:
    """The tool calls that claims name, by run and id; their outputs only for who may see them."""
    rows = ToolCall.objects.filter(step__run__incident=incident, call_id__in=cited).select_related("step")
    rows = rows.defer("output", "data", "arguments", "step__brief", "step__output")
    if outputs:
        rows = rows.annotate(reading=Left("output", LONGEST_READING))
    return {(row.step.run_id, row.call_id): row for row in rows.order_by("id")}


def _claim(claim: dict[str, Any], call: ToolCall | None) -> Claim:
    why = ""
    if not claim["found"]:
        there = "no reading is called" if call is None else "the quote is not in"
        why = f"struck: {there} {claim['call_id']}"
    reading = getattr(call, "reading", "")
    return Claim(
        text=claim["text"],
        quote=claim["quote"],
        source=f"{call.tool} ({call.call_id})" if call else claim["call_id"],
        why=why,
        excerpt=quoted.around(reading, claim["quote"]) if claim["found"] else None,
    )
