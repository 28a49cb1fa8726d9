"""Old observations leave a long conversation, late and all at once, and what was just read never does."""

from __future__ import annotations

from collections.abc import Sequence

from agents.loop import Correction, Entry, Observation, Request
from agents.reasoners.masking import BUDGET, KEPT, masked

FULL = 4_000


def read(turn: int, size: int = FULL, place: int = 1) -> Observation:
    text = f"{turn}" * size
    return Observation(Request(f"c{turn}-{place}", "docker_logs", {"n": turn}), text, text, turn=turn)


def hidden(transcript: Sequence[Entry]) -> list[int]:
    return [place for place, entry in enumerate(masked(transcript)) if entry is not transcript[place]]


def test_nothing_is_masked_while_there_is_room() -> None:
    transcript: list[Entry] = [read(1), Correction("no"), read(2), read(3)]
    assert masked(transcript) == transcript


def test_over_the_budget_all_but_the_last_are_masked_at_once() -> None:
    transcript = [read(turn) for turn in range(1, 6)]
    assert sum(len(each.text) for each in transcript) > BUDGET
    assert hidden(transcript) == [0, 1, 2]
    line = masked(transcript)[0]
    assert isinstance(line, Observation)
    assert line.request == transcript[0].request  # its id stays, so that it may be quoted
    assert "call docker_logs again with the same arguments" in line.text
    assert line.full == transcript[0].full


def test_what_was_masked_stays_so_and_the_rest_stays_shared() -> None:
    transcript = [read(turn) for turn in range(1, 9)]
    before: set[int] = set()
    changes = 0
    for length in range(1, len(transcript) + 1):
        now = set(hidden(transcript[:length]))
        assert before <= now
        changes += now != before
        before = now
    assert changes == 2  # of seven calls that have a call before them


def test_what_a_turn_just_brought_is_never_masked() -> None:
    transcript = [read(1), *(read(2, place=place) for place in range(6))]
    assert len(transcript) > KEPT
    assert hidden(transcript) == [0]


def test_short_ones_are_left_as_they_are() -> None:
    assert hidden([read(1, size=20), *(read(turn) for turn in range(2, 7))]) == [1, 2, 3]
