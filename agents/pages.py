"""What pages share, and what the one behind a message's link shows; nothing here asks the world."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from django.conf import settings
from django.utils import timezone

from agents import questions, transcript
from agents.models import Action, Step
from incidents.access import Caller
from incidents.wording import headline, standing


def tag(caller: Caller, *stands: object) -> str:
    """An entity tag of a page: another one for what it shows, its reader, and each minute, for ages are told
    in minutes. A name may have any letters, and a tag may not.
    """
    reader = crc32(f"{caller.role} {caller.name} {settings.VERSION}".encode())
    parts = (*stands, f"{timezone.now():%d%H%M}", f"{reader:x}")
    return f'W/"{"-".join(map(str, parts))}"'


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
        "askable": questions.may_ask_again(action),
    }
