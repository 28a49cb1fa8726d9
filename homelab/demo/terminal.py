"""How the demo looks: aligned columns, wrapped to the terminal, colours only where they are welcome."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TextIO

from agents.tools.text import one_line

DIM, BOLD, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = 2, 1, 31, 32, 33, 34, 35, 36
ACTOR_COLOURS = {
    "demo": CYAN,
    "monitor": BLUE,
    "analyst": MAGENTA,
    "healer": YELLOW,
    "authorize": YELLOW,
    "executor": YELLOW,
    "proof": GREEN,
}
STAMP_WIDTH = 9  # "+  12.3 s"
ACTOR_WIDTH = 12  # "communicator"
TEXT_COLUMN = STAMP_WIDTH + ACTOR_WIDTH + 4
FACT_WIDTH = 9
NARROW, WIDE = 72, 110
CLEAR = "\r\x1b[K"


@dataclass
class Terminal:
    """Prints what happens with its time since `began`. `mark` goes before every line."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    colour: bool = False
    live: bool = False
    width: int = 100
    mark: str = ""
    never: str = ""  # a word that is not printed, whoever says it
    began: float = field(default_factory=time.time)
    last: float = 0.0
    _temporary: bool = False

    @classmethod
    def of(cls, out: TextIO) -> Terminal:
        """As this output wants it: a terminal has a width, and colours unless NO_COLOR says no."""
        tty = out.isatty()
        columns = shutil.get_terminal_size((WIDE, 24)).columns if tty else WIDE
        clever = tty and os.environ.get("TERM") != "dumb"
        colour = clever and not os.environ.get("NO_COLOR")
        return cls(out, colour=colour, live=clever, width=max(NARROW, min(WIDE, columns)))

    def start(self) -> None:
        """The moment from which times are counted."""
        self.began, self.last = time.time(), 0.0

    def tell(self, actor: str, text: str, details: Iterable[str] = (), *, at: float | None = None) -> None:
        """One thing that happened. `at`: seconds since 1970 by the server's clock, now when left out."""
        now = time.time() - self.began
        # The server's clock may differ from ours; what we saw in between is certain.
        seconds = now if at is None else min(max(at - self.began, self.last), now)
        self.last = seconds
        first = self._wrapped(text, TEXT_COLUMN)
        indent = " " * TEXT_COLUMN
        who = self._paint(f"{one_line(actor):<{ACTOR_WIDTH}}", ACTOR_COLOURS.get(actor, 0))
        self.line(f"{self._paint(_stamp(seconds), DIM)}  {who}  {first[0]}")
        for each in first[1:]:
            self.line(indent + each)
        for detail in details:
            for each in self._wrapped(detail, TEXT_COLUMN):
                self.line(indent + self._paint(each, DIM))

    def heading(self, text: str) -> None:
        self.line(self._paint(one_line(text), BOLD))

    def fact(self, name: str, text: str, colour: int = 0) -> None:
        """A line of the summary: a name and what it is, long texts indented below themselves."""
        for number, each in enumerate(self._wrapped(text, FACT_WIDTH)):
            label = f"{name if number == 0 else '':<{FACT_WIDTH}}"
            self.line(self._paint(label, DIM) + self._paint(each, colour))

    def blank(self) -> None:
        self._print("")

    def line(self, text: str) -> None:
        """A line as it is; painted text comes here, so it must be safe already."""
        self._print(f"{self._paint(self.mark, YELLOW)}  {text}" if self.mark else text)

    def waiting(self, text: str) -> None:
        """A line that the next one replaces; on a terminal only."""
        if not self.live:
            return
        mark = f"{self.mark}  " if self.mark else ""
        stamp = _stamp(time.time() - self.began)
        shown = f"{mark}{stamp}  {'…':<{ACTOR_WIDTH}}  {one_line(text)}"
        self.out.write(CLEAR + self._paint(shown[: self.width - 1], DIM))
        self.out.flush()
        self._temporary = True

    def ask(self, question: str) -> bool:
        """A person's yes; everything else is a no."""
        self.clear()
        try:
            return input(f"{' ' * TEXT_COLUMN}{question} [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            self._print("")
            return False

    def _print(self, text: str) -> None:
        self.clear()
        if self.never:
            text = re.sub(self.never, "…", text, flags=re.IGNORECASE)
        print(text, file=self.out, flush=True)

    def clear(self) -> None:
        if self._temporary:
            self.out.write(CLEAR)
            self._temporary = False

    def _wrapped(self, text: str, indent: int) -> list[str]:
        room = self.width - indent - (len(self.mark) + 2 if self.mark else 0)
        # Events hold strangers' words: no control characters reach the terminal.
        lines = textwrap.wrap(one_line(text), room, break_long_words=False, break_on_hyphens=False)
        return lines or [""]

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colour and colour else text


def _stamp(seconds: float) -> str:
    return f"+{f'{seconds:.1f}':>{STAMP_WIDTH - 3}} s"
