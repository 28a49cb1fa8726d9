"""What may end a trouble for good, said by rules from what is known of its incidents. Pure, nothing invented.

It is given the payloads of their memory entries: causes, quotes that were found, what was done and what that
came to, and what people wrote. People come first. A rule speaks when at least half of the incidents fit it,
with the figures that were read; what they share beside that is said, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from incidents.models import Verdict
from incidents.wording import duration

Payload = Mapping[str, Any]
FEWEST = 2
QUOTES = 4
LONGEST_QUOTE = 160
LONGEST_WORDS = 400
SELF_HEALED = timedelta(minutes=10)  # a longer wait in a rule (`for:`) would hide too much
MINUTES_APART = 60
DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class Rule:
    """`fits` is searched in an incident's alert, description, cause and quotes; `figures` picks quotes."""

    fits: re.Pattern[str]
    figures: re.Pattern[str]
    words: str


RULES = (
    Rule(
        re.compile(r"(?i)out of memory|oom[_ -]?kill(ed|er|s)?\b(?!: false)|memory limit|cannot allocate"),
        re.compile(r"(?i)memory|oom|exit.code|heap"),
        "memory: raise its limit, or find what it leaks.",
    ),
    Rule(
        re.compile(
            r"(?i)no space left|enospc|\binodes\b|(disk|file ?system|volume)\w*[ \w]{0,40}(full|fill|space)"
            r"|space[ \w]{0,20}(disk|file ?system|volume)|% left"
        ),
        re.compile(r"\d"),
        "a disk that fills: keep less (retention, rotation, a regular clean-up), or give it more space.",
    ),
    Rule(
        re.compile(
            r"(?i)crash.?loop|exits? again|exited with code|exit_code: [1-9]|\bpanic\b|status: restarting"
        ),
        re.compile(r"(?i)exit.code|error|fatal|panic|exception|denied|refused|restart"),
        "it ends by itself: look at its configuration, its last update, and what it depends on.",
    ),
)


def proposal(payloads: Sequence[Payload]) -> str:
    """Lines of text; empty only without incidents."""
    lines = [*_people(payloads), *_ruled(payloads), *_shared(payloads)]
    if payloads and not lines:
        lines = ["What they share is not known: no cause was found twice, and nothing was done twice."]
    return "\n".join(lines)


def _people(payloads: Iterable[Payload]) -> list[str]:
    """What persons wrote, the latest first; the same words once."""
    said: dict[str, int] = {}
    for each in payloads:
        cause = each.get("root_cause") if each.get("human_confirmed") else None
        for words in (cause, each.get("note")):
            if words:
                said.setdefault(_cut(words, LONGEST_WORDS), each["incident_id"])
    return [f"A person says (#{pk}): {words}" for words, pk in said.items()]


def _ruled(payloads: Sequence[Payload]) -> list[str]:
    for rule in RULES:
        fitting = [each for each in payloads if rule.fits.search(_words(each))]
        if _are_most(fitting, payloads):
            quotes = _figures(rule, fitting)
            read = f" Read: {'; '.join(quotes)}." if quotes else ""
            return [f"{_of(fitting, payloads)} are about {rule.words}{read}"]
    flaps = _flaps(payloads)
    return [flaps] if flaps else []


def _flaps(payloads: Sequence[Payload]) -> str | None:
    """Alerts that end before anything is done, and soon: the rule that fires them is too quick."""
    healed = [each for each in payloads if each.get("verdict") == Verdict.CLEARED_BEFORE_ACTION]
    took = [each["resolution_time_seconds"] for each in healed if each.get("resolution_time_seconds")]
    if not took or not _are_most(healed, payloads) or max(took) > SELF_HEALED.total_seconds():
        return None
    longest = duration(timedelta(seconds=max(took)))
    return (
        f"{_of(healed, payloads)} cleared by themselves, the slowest after {longest}: let the alert's rule "
        "wait longer than that (`for:`), or mend what flickers."
    )


def _shared(payloads: Sequence[Payload]) -> list[str]:
    """Facts that the incidents have in common."""
    lines = []
    causes = Counter(each["root_cause"] for each in payloads if each.get("root_cause"))
    for cause, times in causes.most_common(1):
        if times >= FEWEST and not any(each.get("human_confirmed") for each in payloads):
            lines.append(f"The same cause was found {times} times: {_cut(cause, LONGEST_WORDS)}")
    done = Counter(
        (action["what"], action["outcome"]) for each in payloads for action in each.get("actions", ())
    )
    for (what, outcome), times in done.most_common(2):
        if times >= FEWEST:
            came_to = {"verified": "helped, and it came back", "failed": "did not help"}
            lines.append(f"{what} {came_to.get(outcome, 'was done, outcome unknown')}: {times} times.")
    if (hour := _hour(payloads)) is not None:
        lines.append(f"They began at the same time of day, {hour}: look for what runs then.")
    return lines


def _hour(payloads: Iterable[Payload]) -> str | None:
    """`03:10 to 03:40`, when all began within an hour of the day, on days of their own."""
    here = ZoneInfo(settings.TIME_ZONE)
    began = [datetime.fromisoformat(each["timestamp"]).astimezone(here) for each in payloads]
    if len(began) <= FEWEST or len({moment.date() for moment in began}) < len(began):
        return None
    first = began[0].hour * 60 + began[0].minute
    # Around midnight, too: minutes before or after the first.
    apart = [
        (moment.hour * 60 + moment.minute - first + DAY_MINUTES // 2) % DAY_MINUTES - DAY_MINUTES // 2
        for moment in began
    ]
    if max(apart) - min(apart) > MINUTES_APART:
        return None
    return f"{_clock(first + min(apart))} to {_clock(first + max(apart))}"


def _clock(minutes: int) -> str:
    hours, rest = divmod(minutes % DAY_MINUTES, 60)
    return f"{hours:02}:{rest:02}"


def _figures(rule: Rule, payloads: Iterable[Payload]) -> list[str]:
    """Quotes that were found in what was read, each once."""
    quotes = dict.fromkeys(
        _cut(quote, LONGEST_QUOTE)
        for each in payloads
        for quote in each.get("evidence", ())
        if rule.figures.search(quote)
    )
    return [f"“{quote}”" for quote in list(quotes)[:QUOTES]]


def _words(payload: Payload) -> str:
    told = (payload.get("alert_name"), payload.get("description"), payload.get("root_cause"))
    return "\n".join(filter(None, (*told, *payload.get("evidence", ()))))


def _are_most(some: Sequence[Payload], payloads: Sequence[Payload]) -> bool:
    return len(some) >= FEWEST and 2 * len(some) >= len(payloads)


def _of(some: Sequence[Payload], payloads: Sequence[Payload]) -> str:
    return f"{len(some)} of {len(payloads)}"


def _cut(text: str, longest: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
