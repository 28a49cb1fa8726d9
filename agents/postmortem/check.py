"""Whether a model's words about an incident are in its records, as far as code can tell.

Not whether they are good: a wrong story with right numbers passes. What passes names no number, time or quote
that is not in the facts, and says no more of the end and of the cause than they do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from agents import evidence
from incidents.models import Incident, Verdict

NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
QUOTED = re.compile(r'"([^"]{2,})"|“([^”]{2,})”|`([^`]{2,})`')
NUMERALS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
WORD = re.compile(rf"\b(?:{'|'.join(NUMERALS)})\b", re.IGNORECASE)
# What nobody may say of an end that was not so, unless it is denied in the same breath.
ENDS = re.compile(
    r"\b(fixed|resolved|solved|recovered|restored|repaired|cured|healed|verified|proven|proved|"
    r"back to normal)\b",
    re.IGNORECASE,
)
SURE = re.compile(r"\b(confirmed|certainly|definitely|undoubtedly|without doubt)\b", re.IGNORECASE)
DENIED = re.compile(
    r"\b(?:not|never|no|nobody|nothing|without|cannot|neither|nor|unclear|unknown|unproven|uncertain|whether|"
    r"until|\w+n(?:'|\u2019)t)\b[^.;:]{0,40}$",
    re.IGNORECASE,
)
PROVED = frozenset({"verified", "proven", "proved"})
ALL = PROVED | {"fixed", "resolved", "solved", "recovered", "restored", "repaired", "cured", "healed"}
MAY_SAY: dict[str | None, frozenset[str]] = {
    Verdict.VERIFIED: ALL | {"back to normal"},
    Verdict.CLEARED_BEFORE_ACTION: PROVED | {"resolved", "recovered", "restored", "back to normal"},
    Verdict.RESOLVED_BY_HUMAN: frozenset({"resolved"}),
}


def untrue(answer: Mapping[str, Any], incident: Incident, known: Mapping[str, Any]) -> str | None:
    """What of a model's answer is not in the facts, in words; None when nothing was found."""
    text = str(answer.get("summary") or "")
    told = json.dumps(known, ensure_ascii=False, default=str)
    if answer.get("verdict") != known["verdict"]:
        return f"they call it {answer.get('verdict')}, and it is {known['verdict']}"
    numbers = {*NUMBER.findall(told), *_parts(NUMBER.findall(told))}
    for number in NUMBER.findall(text):
        if number.rstrip(".,:") not in numbers:
            return f"the number {number} is in no record"
    for numeral in WORD.findall(text):
        if str(NUMERALS.index(numeral.lower()) + 2) not in numbers and numeral.lower() not in told.lower():
            return f"the number {numeral!r} is in no record"
    for quote in (next(filter(None, match.groups())) for match in QUOTED.finditer(text)):
        if evidence.find(quote.strip(" .,;:"), told) is None and quote.strip(" .,;:") not in told:
            return f"the quote {quote!r} is in no record"
    return _overstated(text, incident)


def _parts(numbers: list[str]) -> Iterator[str]:
    """Of `18:27:03` also `18:27`; of `0.50` also `0.5`."""
    for number in numbers:
        if number.count(":") == 2:
            yield number.rpartition(":")[0]
        if "." in number:
            yield number.rstrip("0").rstrip(".")


def _overstated(text: str, incident: Incident) -> str | None:
    allowed = MAY_SAY.get(incident.verdict, frozenset())
    for match in ENDS.finditer(text):
        if match[0].lower() not in allowed and not DENIED.search(text[: match.start()]):
            verdict = f"the verdict is {incident.verdict}" if incident.verdict else "there is no verdict"
            return f"they say {match[0]!r}, and {verdict}"
    if incident.certainty != "CONFIRMED" and not incident.human_cause:
        for match in SURE.finditer(text):
            if not DENIED.search(text[: match.start()]):
                return f"they say {match[0]!r}, and the cause is {incident.certainty.lower() or 'not known'}"
    return None
