"""What is left of a long output still holds the line that matters, wherever it stands."""

from __future__ import annotations

import random

import pytest

from agents.excerpt import SHOWN_CHARACTERS, excerpt
from tests.needles import MEGABYTE, grumbling, haystack, hidden, recall


def test_needles_in_logs_of_a_megabyte_are_found_through_the_cap() -> None:
    tried, missed = recall(random.Random(20261123), each=6)
    assert tried == 24
    assert len(missed) <= 0.05 * tried, missed


def test_a_short_output_is_shown_whole() -> None:
    assert excerpt("a\nb\n") == "a\nb\n"


def test_every_line_that_is_shown_stands_in_the_output_and_what_is_missing_is_counted() -> None:
    rng = random.Random(7)
    text = hidden(rng, haystack(rng, grumbling), "the needle: no space left on device")
    lines = set(text.split("\n"))
    marks = [line for line in excerpt(text).split("\n") if line not in lines]
    assert all(mark.startswith("… ") for mark in marks if mark)
    shown = sum(len(line) + 1 for line in excerpt(text).split("\n") if line in lines)
    [hint] = [mark for mark in marks if "left out" in mark]
    assert f"{len(text) - shown + 1} characters left out: narrow the query" in hint


def test_the_begin_and_the_end_are_shown() -> None:
    text = "\n".join(f"line {number} says nothing" for number in range(10_000))
    shown = excerpt(text)
    assert shown.startswith("line 0 says nothing\nline 1 ")
    assert shown.endswith("\nline 9999 says nothing")


def test_lines_with_the_alerts_words_are_preferred() -> None:
    lines = [f"service {chr(97 + number % 26) * 5} number {number} started" for number in range(5_000)]
    lines[2_000] = "jellyfin took its time"
    assert "jellyfin took its time" in excerpt("\n".join(lines), ["JellyfinSlow"])


ODD = ("x" * MEGABYTE, "{" * MEGABYTE, '"' * MEGABYTE, "a1" * (MEGABYTE // 2), "\n" * 9999)


@pytest.mark.parametrize("text", ODD, ids=[each[:2].strip() or "lines" for each in ODD])
def test_odd_outputs_are_cut(text: str) -> None:
    """A pattern that ran wild here would take hours."""
    assert len(excerpt(text, ["Down"])) <= SHOWN_CHARACTERS * 1.1
