"""What an agent is shown of a long output: its begin and end, and the lines that look telling. Pure.

A line is telling when it speaks of a failure or of the alert, and the more the rarer its kind is: what a log
says a thousand times is its noise. Everything that is shown stands literally in the output.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN_CHARACTERS = 4000  # about 1,000 tokens
HEAD = 0.15  # shares of what is shown; the end gets what is left
TELLING = 0.6
GAP = 24  # characters of a mark between two pieces
HINT = 140
LONGEST_PIECE = 300

GRAVE = re.compile(
    r"fatal|panic|crit(?:ical)?\b|emerg|oom|out of memory|kill|segfault|sig(?:segv|abrt|kill)|abort|core dump"
    r"|corrupt|traceback|no space|read-only|not permitted|denied|forbidden|unauthori[sz]ed|expired|deadlock"
    r"|assert|\bbad\b|exit(?:ed)? (?:code|status|with)|i/o error",
    re.IGNORECASE,
)
FAILURE = re.compile(
    r"err(?:or|no)?\b|exception|fail|refused|reset by|unreachable|no route|time[d -]*out|unable|can(?:no|')t"
    r"|could not|lost|missing|not found|no such|invalid|unhealthy|too many|exceed|full\b|broken|crash|reject"
    r"|unexpected",
    re.IGNORECASE,
)
WARNING = re.compile(r"warn|retry|slow|degraded|deprecat", re.IGNORECASE)
# A kind of line: numbers, ids and quoted words differ from one to the next.
VARYING = re.compile(r"\"[^\"]*\"|'[^']*'|(?<!\S)\S*\d\S*")
PLAIN_WORD = re.compile(r"[a-z]{3,}")
WORD = re.compile(r"[A-Z]?[a-z]{4,}|[A-Z]{3,}")


@dataclass(frozen=True)
class Piece:
    """A stretch of the output: a line, or a part of a very long one."""

    start: int
    end: int


def excerpt(text: str, words: Iterable[str] = (), limit: int = SHOWN_CHARACTERS) -> str:
    """At most about `limit` characters of a text, with what was left out counted and a hint how to narrow.

    `words` are the alert's: lines that have them are preferred.
    """
    if len(text) <= limit:
        return text
    pieces = _pieces(text)
    room = limit - HINT
    first = _fill(pieces, room * HEAD)
    telling = _telling(text, pieces[len(first) :], words, room * TELLING)
    chosen = {*first, *telling}
    others = [piece for piece in reversed(pieces) if piece not in chosen]
    chosen.update(_fill(others, room - _size(first) - _size(telling) - GAP * len(telling)))
    return _join(text, sorted(chosen, key=lambda piece: piece.start))


def _pieces(text: str) -> list[Piece]:
    """Every line with its break; long lines in parts."""
    pieces, start = [], 0
    for line in text.splitlines(keepends=True):
        for offset in range(0, len(line), LONGEST_PIECE):
            pieces.append(Piece(start + offset, start + min(offset + LONGEST_PIECE, len(line))))
        start += len(line)
    return pieces


def _fill(pieces: Sequence[Piece], room: float) -> list[Piece]:
    taken: list[Piece] = []
    for piece in pieces:
        room -= piece.end - piece.start
        if room < 0:
            break
        taken.append(piece)
    return taken


def _size(pieces: Iterable[Piece]) -> int:
    return sum(piece.end - piece.start for piece in pieces)


def _telling(text: str, pieces: Sequence[Piece], words: Iterable[str], room: float) -> list[Piece]:
    """The best pieces that fit, at most one of a kind, later ones first among equals."""
    kinds = [VARYING.sub("#", text[piece.start : piece.end]).strip() for piece in pieces]
    weights = _weights(Counter(kinds), _alert_words(words))
    ranked = [(weights[kind], number) for number, kind in enumerate(kinds) if kind]
    taken: list[Piece] = []
    seen: set[str] = set()
    for _, number in heapq.nlargest(int(2 * room / GAP), ranked):
        piece, kind = pieces[number], kinds[number]
        size = piece.end - piece.start + GAP
        if kind in seen or size > room:
            continue
        seen.add(kind)
        taken.append(piece)
        room -= size
    return taken


def _weights(counts: Counter[str], alert: re.Pattern[str] | None) -> dict[str, float]:
    """How telling each kind of line is: how grave, how rare, and whether the alert has words of it."""
    words = {kind: set(PLAIN_WORD.findall(kind.lower())) for kind in counts}
    uses: Counter[str] = Counter()
    for kind, count in counts.items():
        uses.update(dict.fromkeys(words[kind], count))
    often = max(10, counts.total() // 1000)
    weights = {}
    for kind, count in counts.items():
        rarity = 2 if count == 1 else 1.5 if count <= 3 else 1 if count <= often else 0
        # One word that nothing else has may be a name; several are a line of another sort.
        strange = sum(uses[word] <= 3 for word in words[kind])
        graveness = _graveness(kind) * (0.5 if rarity == 0 else 1)
        about = 1 if alert and alert.search(kind) else 0
        weights[kind] = graveness + rarity + 0.5 * min(strange, 4) + about
    return weights


def _graveness(kind: str) -> int:
    return 3 if GRAVE.search(kind) else 2 if FAILURE.search(kind) else 1 if WARNING.search(kind) else 0


def _alert_words(texts: Iterable[str]) -> re.Pattern[str] | None:
    words = {word.lower() for text in texts for word in WORD.findall(text)}
    return re.compile("|".join(map(re.escape, sorted(words))), re.IGNORECASE) if words else None


def _join(text: str, pieces: Sequence[Piece]) -> str:
    """The pieces with a mark wherever something between them is left out; the first mark carries the hint."""
    left = len(text) - _size(pieces)
    hint = f" {left} characters left out: narrow the query (match, lines, a selector) to see them"
    shown: list[str] = []
    at = 0
    for piece in [*pieces, Piece(len(text), len(text))]:
        if piece.start > at:
            lines = text.count("\n", at, piece.start)
            shown.append(f"{_break(shown)}…{f' {lines} lines …' if lines else ''}{hint}\n")
            hint = ""
        shown.append(text[piece.start : piece.end])
        at = piece.end
    return "".join(shown)


def _break(shown: Sequence[str]) -> str:
    return "" if not shown or shown[-1].endswith("\n") else "\n"
