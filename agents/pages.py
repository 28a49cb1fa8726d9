"""What the page behind a message's link shows, read from the rows; nothing here asks the world."""

from __future__ import annotations

from typing import Any

from agents import services, transcript
from agents.models import Action, Step
from incidents.wording import headline, standing


def question(action: Action) -> dict[str, Any]:
    """What who holds a message's link may see: what is asked and why, and how it stands."""
    incident = action.incident
    run = action.step.run
    found = transcript.answer_of(run, Step.Agent.ANALYST, action.step.focus) or {}
    # A watch that goes on has seen something, too, and is not done.
    looks = run.steps.filter(agent=Step.Agent.PROOF, output__isnull=False).order_by("-number")
    return {
        "action": action,
        "incident": incident,
        "headline": headline(incident, now=incident.closed_at, target=action.target),
        "standing": standing(incident),
        "diagnosis": found,
        "quote": next((claim["quote"] for claim in found.get("claims", []) if claim["found"]), ""),
        "proof": looks.values_list("output", flat=True).first() or {},
        "open": action.is_asked,
        "askable": services.may_ask_again(action),
    }
