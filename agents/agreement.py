"""How far a replay agrees with the record, and whether it was right, as far as anybody knows what was.

What is right is known from the proof (an action that helped, a false alarm) and from people (the cause they
wrote). Causes are sentences, so they are compared by their words, and the share is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.models import Action, Step
from agents.replay import Replayed
from incidents.models import Verdict

ALIKE = 0.5  # the share of a person's words that a cause must have to be called right
WORD = re.compile(r"[a-z]{3,}|\d+")
EMPTY_WORDS = frozenset({"the", "and", "was", "were", "has", "had", "are", "that", "with", "for", "its"})
NO_ACTION = "none"


@dataclass(frozen=True)
class Agreement:
    """None is what cannot be told: a share of words without a sentence, a code that one of them lacks."""

    same_action: bool | None
    same_certainty: bool | None
    same_code: bool | None
    cause_words: float | None  # share of the recorded cause's words
    person_words: float | None  # share of the words of the cause that a person wrote
    proof: bool | None  # whether the action is what the proof says was right
    right: bool | None


def compare(replayed: Replayed) -> Agreement:
    healed, analysed = replayed.of(Step.Agent.HEALER), replayed.of(Step.Agent.ANALYST)
    codes = [(was["code"], now["code"]) for was, now in analysed if was["code"] and now["code"]]
    causes = [now["cause"] for _, now in analysed]
    person = likeness(replayed.incident.human_cause, " ".join(causes)) if causes else None
    proof = _proved(replayed)
    return Agreement(
        same_action=_all(_action(was) == _action(now) for was, now in healed),
        same_certainty=_all(was["certainty"] == now["certainty"] for was, now in analysed),
        same_code=_all(was == now for was, now in codes),
        cause_words=likeness(" ".join(was["cause"] for was, _ in analysed), " ".join(causes)),
        person_words=person,
        proof=proof,
        right=_right(replayed, person, proof),
    )


def likeness(said: str, other: str) -> float | None:
    """The share of a text's words that another has, too; None when the first says nothing."""
    words = _words(said)
    return len(words & _words(other)) / len(words) if words else None


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.lower())) - EMPTY_WORDS


def _action(answer: dict[str, Any]) -> tuple[str, str | None]:
    """What is proposed, and for what; the target of nothing is nothing."""
    return answer["action"], None if answer["action"] == NO_ACTION else answer["target"]


def _proved(replayed: Replayed) -> bool | None:
    """By the actions that were done and the verdict; an action that nobody tried cannot be judged."""
    known: list[bool] = []
    steps = [(step, now) for step, now in replayed.answers if step.agent == Step.Agent.HEALER]
    done = Action.objects.filter(incident=replayed.incident).outcomes().select_related("target")
    helped = {action.step_id: ((str(action.kind), action.target.key), action.helped) for action in done}
    for step, now in steps:
        if step.pk in helped:
            tried, did_help = helped[step.pk]
            if did_help or _action(now) == tried:
                known.append(bool(did_help) and _action(now) == tried)
    if replayed.incident.verdict == Verdict.FALSE_ALARM:
        known += [now["action"] == NO_ACTION for _, now in steps]
    return _all(known)


def _right(replayed: Replayed, person: float | None, proof: bool | None) -> bool | None:
    if replayed.failed:
        return False
    told = [each for each in (proof, None if person is None else person >= ALIKE) if each is not None]
    return _all(told)


def _all(values: Iterable[bool]) -> bool | None:
    found = list(values)
    return all(found) if found else None


@dataclass(frozen=True)
class Summary:
    """A contender over all incidents. `usd` and `tokens` are None when one of them is not known."""

    contender: str
    incidents: int
    right: int
    judged: int  # incidents where anybody knows what is right
    same_action: int
    failed: int
    lacking: int
    asked: int
    tokens: int | None
    usd: Decimal | None
    seconds: float


def summarise(rows: Sequence[tuple[Replayed, Agreement]]) -> list[Summary]:
    """One line for each contender, in the order of the first of their rows."""
    names = dict.fromkeys(replayed.contender for replayed, _ in rows)
    return [_summary(name, [row for row in rows if row[0].contender == name]) for name in names]


def _summary(name: str, rows: Sequence[tuple[Replayed, Agreement]]) -> Summary:
    tokens = [replayed.spent.tokens for replayed, _ in rows]
    costs = [replayed.spent.usd for replayed, _ in rows]
    return Summary(
        contender=name,
        incidents=len(rows),
        right=sum(agreement.right is True for _, agreement in rows),
        judged=sum(agreement.right is not None for _, agreement in rows),
        same_action=sum(agreement.same_action is True for _, agreement in rows),
        failed=sum(bool(replayed.failed) for replayed, _ in rows),
        lacking=sum(len(replayed.lacking) for replayed, _ in rows),
        asked=sum(replayed.asked for replayed, _ in rows),
        tokens=None if None in tokens else sum(each for each in tokens if each is not None),
        usd=None if None in costs else sum((each for each in costs if each is not None), Decimal(0)),
        seconds=sum(replayed.seconds for replayed, _ in rows),
    )


def cheapest_right(summaries: Sequence[Summary]) -> Summary | None:
    """Of those that were right wherever it can be told, the one with the least cost, then the least time.

    Whose price is not known is behind all whose is.
    """
    right = [each for each in summaries if each.judged and each.right == each.judged]
    return min(right, key=lambda each: (each.usd is None, each.usd or 0, each.seconds), default=None)
