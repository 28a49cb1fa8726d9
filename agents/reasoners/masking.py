"""Older observations out of a long conversation. Pure.

Leaving one out changes the text in the middle, and what a server has cached of the prompt ends there. So
nothing is left out while there is room, and then all old ones at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.loop import Entry, Observation

BUDGET = 17_000  # characters of observations: four full ones, about 4,000 tokens
KEPT = 2


def masked(transcript: Sequence[Entry]) -> list[Entry]:
    """The transcript with old observations replaced by a line, once all together were over the budget.

    What was masked stays so, and what the last turn brought is never masked.
    """
    hidden: set[int] = set()
    places = [place for place, entry in enumerate(transcript) if isinstance(entry, Observation)]
    turn_of = {place: entry.turn for place, entry in enumerate(transcript) if isinstance(entry, Observation)}
    for turn in sorted(set(turn_of.values())):
        shown = [place for place in places if turn_of[place] <= turn and place not in hidden]
        if sum(_length(transcript[place]) for place in shown) > BUDGET:
            hidden.update(place for place in shown[:-KEPT] if turn_of[place] < turn)
    return [_mask(entry) if place in hidden else entry for place, entry in enumerate(transcript)]


def _length(entry: Entry) -> int:
    return len(entry.text)


def _mask(entry: Entry) -> Entry:
    if not isinstance(entry, Observation):
        return entry
    text = (
        f"(left out: {len(entry.text)} characters that you have read. They may still be quoted; call"
        f" {entry.request.tool} again with the same arguments to read them once more)"
    )
    return replace(entry, text=text) if len(text) < len(entry.text) else entry
