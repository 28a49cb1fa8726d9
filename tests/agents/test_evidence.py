"""Claims stand or fall with their quotes."""

from __future__ import annotations

import random

import pytest

from agents.answers import Certainty, Claim, Diagnosis
from agents.evidence import check, find
from agents.playbooks import _cut

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


OUTPUT = (
    "container: docker:h/web\nstatus: exited\nexit_code: 137 (SIGKILL: killed from outside)\n"
    "health: unhealthy: checked by curl\nratio: 1.53\nerror: none\nup\n"
    '2026-11-23T04:00:00Z panic: open "/etc/app.conf":\tno such file\n'
)
INSPECT_ID = "analyst-1"


@pytest.mark.parametrize(
    "quote",
    [
        "exit_code: 137 (SIGKILL",
        "status:   exited",  # other blanks
        "status: exited exit_code: 137",  # over a line's end
        'panic: open "/etc/app.conf": no such file',
        r"panic: open \"/etc/app.conf\":\tno such file",  # JSON written twice
        "`error: none`",
        "ratio: 1.53",
        "up",  # short, but the whole line
    ],
)
def test_a_quote_is_found_whatever_its_blanks_and_escapes(quote: str) -> None:
    found = find(quote, OUTPUT)
    assert found is not None
    assert found in OUTPUT  # what is kept is the output's own text


@pytest.mark.parametrize(
    "quote",
    [
        "exit_code: 13",  # a number that is cut
        "ratio: 1",
        "37 (SIGKILL",
        "healthy: checked by curl",  # the end of another word
        "exited",  # says too little
        ": e",
        "----------",
        "",
        "   ",
        "STATUS: EXITED",
        "status: running",
        "exit_code: 137 (SIGTERM",
        "exit_code 137",
    ],
)
def test_a_quote_that_is_not_there_or_says_nothing_is_struck(quote: str) -> None:
    assert find(quote, OUTPUT) is None


def test_no_invented_quote_of_a_hundred_is_ever_evidence() -> None:
    """Words of the output in another order, cut, or with another number, and sentences of the prompt."""
    rng = random.Random(4)
    words = OUTPUT.split()
    invented = [" ".join(rng.sample(words, rng.randint(2, 5))) for _ in range(60)]
    invented += [f"exit_code: {number}" for number in rng.sample([*range(137), *range(138, 256)], 20)]
    invented += [f"The disk of host {number} is full" for number in range(19)]
    invented += ["You are the Analyst. Find out why it happened."]
    flat = " ".join(words)
    invented = [each if each not in flat else f"{each} {each}" for each in invented]
    assert len(invented) == 100
    for start in range(0, 100, 8):
        claims = [(INSPECT_ID, quote) for quote in invented[start : start + 8]]
        checked = check(diagnose("CONFIRMED", *claims), {INSPECT_ID: OUTPUT})
        assert [claim.quote for claim in checked.claims if claim.found] == []
        assert checked.certainty == "INCONCLUSIVE"


def test_the_output_of_a_call_that_failed_is_no_source() -> None:
    checked = check(diagnose("CONFIRMED", ("c3", "error: the engine does not answer")), {"c3": ""})
    assert (checked.claims[0].found, checked.certainty) == (False, "INCONCLUSIVE")


def test_what_happened_in_another_incident_confirms_nothing() -> None:
    outputs = {**OUTPUTS, "m1": "cause: the disk was full"}
    recalled = ("m1", "the disk was full")
    assert check(diagnose("CONFIRMED", recalled), outputs, {"m1"}).certainty == "LIKELY"
    seen = ("c1", "exit_code: 137")
    assert check(diagnose("CONFIRMED", recalled, seen), outputs, {"m1"}).certainty == "CONFIRMED"


def test_a_long_quote_of_a_playbook_is_cut_between_words() -> None:
    line = "error: " + "abcdefgh " * 100
    quote = _cut(line.strip())
    assert len(quote) <= 500
    assert find(quote, f"{line}\n") == quote.strip()
