"""A quote in the reading that it is from, for people: some lines around it, and what is folded away."""

from __future__ import annotations

from dataclasses import dataclass

from agents import evidence

LINES = 3  # on each side
LONGEST_LINE = 300
MOST_FOLDED = 8_000  # characters on each side; the whole of it is in the incident's record


@dataclass(frozen=True)
class Excerpt:
    """`above` and `below` are folded; `before`, `quote` and `after` are shown, and make one piece of text."""

    above: str
    before: str
    quote: str
    after: str
    below: str


def around(output: str, quote: str) -> Excerpt | None:
    """None when the quote is not there, as the check of evidence looks for it."""
    piece = evidence.locate(quote, output)
    if piece is None:
        return None
    *earlier, start = output[: piece.start()].split("\n")
    end, *later = output[piece.end() :].split("\n")
    above, before = earlier[:-LINES], earlier[-LINES:]
    after, below = later[:LINES], later[LINES:]
    return Excerpt(
        above="\n".join(above)[-MOST_FOLDED:],
        before="\n".join(
            [*map(_cut, before), start if len(start) <= LONGEST_LINE else f"…{start[-LONGEST_LINE:]}"]
        ),
        quote=piece[0],
        after="\n".join([_cut(end), *map(_cut, after)]),
        below="\n".join(below)[:MOST_FOLDED],
    )


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"
