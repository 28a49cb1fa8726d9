"""A claim counts when its quote stands literally in the stored output of the call it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents.answers import Certainty, Diagnosis


@dataclass(frozen=True)
class CheckedClaim:
    text: str
    call_id: str
    quote: str
    found: bool


@dataclass(frozen=True)
class CheckedDiagnosis:
    """A diagnosis after the check; a struck claim stays visible with `found` False."""

    cause: str
    certainty: Certainty
    claims: tuple[CheckedClaim, ...]
    dropped: tuple[str, ...]
    code: str = ""


def check(diagnosis: Diagnosis, outputs: Mapping[str, str]) -> CheckedDiagnosis:
    """`outputs` maps call ids of this incident to whole stored outputs."""
    claims = tuple(
        CheckedClaim(each.text, each.call_id, each.quote, each.quote in outputs.get(each.call_id, ""))
        for each in diagnosis.claims
    )
    return CheckedDiagnosis(
        cause=diagnosis.cause,
        certainty=_certainty(diagnosis.certainty, claims),
        claims=claims,
        dropped=tuple(diagnosis.dropped),
        code=diagnosis.code,
    )


def _certainty(claimed: Certainty, claims: tuple[CheckedClaim, ...]) -> Certainty:
    """CONFIRMED needs a checked quote; nothing but struck quotes is INCONCLUSIVE."""
    found = sum(claim.found for claim in claims)
    if claims and not found:
        return "INCONCLUSIVE"
    if claimed == "CONFIRMED" and not found:
        return "LIKELY"
    return claimed
