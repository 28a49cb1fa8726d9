"""Claims stand or fall with their quotes."""

from __future__ import annotations

import pytest

from agents.answers import Certainty, Claim, Diagnosis
from agents.evidence import check

OUTPUTS = {"c1": "status: exited\nexit_code: 137\n", "c2": "nothing"}


def diagnose(certainty: Certainty, *claims: tuple[str, str]) -> Diagnosis:
    made = [Claim(text="t", call_id=call_id, quote=quote) for call_id, quote in claims]
    return Diagnosis(cause="because", certainty=certainty, claims=made)


@pytest.mark.parametrize(
    ("said", "claims", "certainty"),
    [
        ("CONFIRMED", [("c1", "exit_code: 137")], "CONFIRMED"),
        ("CONFIRMED", [("c1", "exit_code: 1\n")], "INCONCLUSIVE"),  # not literally there
        ("CONFIRMED", [("c2", "exit_code: 137")], "INCONCLUSIVE"),  # in another call's output
        ("CONFIRMED", [("c9", "exit_code: 137")], "INCONCLUSIVE"),  # no such call
        ("CONFIRMED", [("c1", "exit_code: 137"), ("c1", "made up")], "CONFIRMED"),
        ("CONFIRMED", [], "LIKELY"),
        ("LIKELY", [("c1", "exit_code: 137")], "LIKELY"),
        ("LIKELY", [("c1", "made up")], "INCONCLUSIVE"),
    ],
)
def test_certainty_follows_from_the_check(
    said: Certainty, claims: list[tuple[str, str]], certainty: Certainty
) -> None:
    assert check(diagnose(said, *claims), OUTPUTS).certainty == certainty


def test_a_struck_claim_stays_visible() -> None:
    checked = check(diagnose("LIKELY", ("c1", "exit_code: 137"), ("c1", "made up")), OUTPUTS)
    assert [claim.found for claim in checked.claims] == [True, False]
