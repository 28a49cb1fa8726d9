"""A quote is shown where it stands, with the lines around it."""

from __future__ import annotations

from agents.quoted import LINES, LONGEST_LINE, MOST_FOLDED, around

OUTPUT = "\n".join(f"line {number}" for number in range(1, 21))


def test_some_lines_around_it_are_shown_and_the_rest_is_folded() -> None:
    found = around(OUTPUT, "line 10")
    assert found is not None
    assert found.before.splitlines() == ["line 7", "line 8", "line 9"]
    assert found.after.splitlines() == ["", "line 11", "line 12", "line 13"]
    assert found.above.splitlines()[-1] == "line 6"
    assert found.below.splitlines()[0] == "line 14"


def test_nothing_is_lost_or_doubled() -> None:
    for quote in ("line 1\n", "line 20", "line 5\nline 6", OUTPUT):
        found = around(OUTPUT, quote)
        assert found is not None
        shown = found.before + found.quote + found.after
        whole = "\n".join(filter(None, (found.above, shown, found.below)))
        assert whole.strip("\n") == OUTPUT


def test_the_quote_stays_in_its_line() -> None:
    found = around("state: exit code: 137 (killed)", "exit code: 137")
    assert found is not None
    assert (found.before, found.quote, found.after) == ("state: ", "exit code: 137", " (killed)")


def test_a_longer_number_before_it_is_not_it() -> None:
    found = around("exit code: 137\nexit code: 13", "exit code: 13")
    assert found is not None
    assert (found.before, found.after) == ("exit code: 137\n", "")


def test_long_lines_and_long_outputs_are_cut() -> None:
    long = "x" * 100_000
    found = around(f"{long}\n{long} THE QUOTE {long}\n" + "y\n" * 100_000, "THE QUOTE")
    assert found is not None
    assert len(found.before) < 2 * LONGEST_LINE + 20
    assert len(found.after) < (LINES + 1) * (LONGEST_LINE + 2)
    assert len(found.below) == MOST_FOLDED


def test_what_is_not_there_is_not_shown() -> None:
    assert around(OUTPUT, "line 99") is None
    assert around(OUTPUT, "") is None
