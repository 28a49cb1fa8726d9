"""A claim counts when its quote stands in the stored output of the call it names.

Word for word: other blanks and JSON's escapes are forgiven, a number or a word that is cut is not, for
`exit_code: 1` is no quote of `exit_code: 137`. What is kept is the output's own text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from agents.answers import Certainty, Claim, Diagnosis


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

    def as_json(self) -> dict[str, Any]:
        """As it is kept on the Analyst's step."""
        return {
            "cause": self.cause,
            "certainty": self.certainty,
            "claims": [vars(claim) for claim in self.claims],
            "dropped": list(self.dropped),
            "code": self.code,
        }


# A quote shorter than this says something only when it is a whole line.
SHORTEST = 8
FEWEST_LETTERS = 6


def check(
    diagnosis: Diagnosis, outputs: Mapping[str, str], hearsay: Collection[str] = ()
) -> CheckedDiagnosis:
    """`outputs` maps call ids of this incident to whole stored outputs.

    `hearsay` are those of them that tell of other incidents, or of none: they make nothing CONFIRMED.
    """
    claims = tuple(_checked(each, outputs.get(each.call_id, "")) for each in diagnosis.claims)
    return CheckedDiagnosis(
        cause=diagnosis.cause,
        certainty=_certainty(diagnosis.certainty, claims, hearsay),
        claims=claims,
        dropped=tuple(diagnosis.dropped),
        code=diagnosis.code,
    )


def _checked(claim: Claim, output: str) -> CheckedClaim:
    found = find(claim.quote, output)
    return CheckedClaim(claim.text, claim.call_id, found or claim.quote, found is not None)


def find(quote: str, output: str) -> str | None:
    """The piece of the output that the quote is, or None: it is not there, or says too little."""
    piece = locate(quote, output)
    return piece[0] if piece else None


def locate(quote: str, output: str) -> re.Match[str] | None:
    """Where in the output that piece stands."""
    for said in (quote, _unescaped(quote), quote.strip("\"'`")):
        words = said.split()
        if not words:
            continue
        literal = r"\s+".join(map(re.escape, words))
        for piece in re.finditer(_before(words[0][0]) + literal + _after(words[-1][-1]), output):
            if _says_something(piece):
                return piece
    return None


def _unescaped(quote: str) -> str:
    """As it was before a model wrote it as JSON twice."""
    try:
        return str(json.loads(f'"{quote}"'))
    except ValueError:
        return quote


def _before(first: str) -> str:
    """No half word, no end of a longer number."""
    number = r"(?<!\d[.,])" if first.isdigit() else ""
    return rf"(?<!\w){number}" if _in_word(first) else ""


def _after(last: str) -> str:
    number = r"(?![.,]\d)" if last.isdigit() else ""
    return rf"(?!\w){number}" if _in_word(last) else ""


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _says_something(piece: re.Match[str]) -> bool:
    text, letters = piece[0], sum(map(str.isalnum, piece[0]))
    if len(text) >= SHORTEST and letters >= FEWEST_LETTERS:
        return True
    before, after = piece.string[: piece.start()][-1:], piece.string[piece.end() :][:1]
    return letters > 0 and before in ("", "\n") and after in ("", "\n", "\r")


def _certainty(claimed: Certainty, claims: tuple[CheckedClaim, ...], hearsay: Collection[str]) -> Certainty:
    """CONFIRMED needs a checked quote of this incident; nothing but struck quotes is INCONCLUSIVE."""
    found = [claim.call_id for claim in claims if claim.found]
    if claims and not found:
        return "INCONCLUSIVE"
    if claimed == "CONFIRMED" and not set(found) - set(hearsay):
        return "LIKELY"
    return claimed
