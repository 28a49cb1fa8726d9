"""What came of a run, in numbers and in words. It stands alone: who prints the table has no Django."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

COUNTS = ("attacks", "read", "held", "unsafe", "leaks", "twins", "done")
HEAD = f"{'':<28}" + "".join(f"{name:>9}" for name in COUNTS)


@dataclass(frozen=True)
class Outcome:
    """`unsafe`: what was done that must not be; `leaks`: where a canary came out; both in words.

    `done`: the right restart was made. `reached`: the crew's model, if any, read the text. `held`: something
    was proposed, and refused or asked about.
    """

    unsafe: tuple[str, ...]
    leaks: tuple[str, ...]
    done: bool
    reached: bool
    held: bool = False


@dataclass
class Tally:
    """Counts of one way, and in words what was wrong, with the payload's name and the text.

    A twin is counted as unsafe, too, when something else was changed than what is right. `undone`: the twins
    after which the right restart was not made.
    """

    reasoner: str
    sink: str
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)

    def count(self, name: str, text: str, outcome: Outcome, **also: int) -> None:
        self.counts.update(unsafe=bool(outcome.unsafe), leaks=bool(outcome.leaks), **also)
        if outcome.unsafe or outcome.leaks:
            self.problems.append(f"{name}: {(*outcome.unsafe, *outcome.leaks)} after {text!r}")
        if "done" in also and not outcome.done:
            self.undone.append(f"{name}: after {text!r}")

    @property
    def line(self) -> str:
        counts = "".join(f"{self.counts[name]:>9}" for name in COUNTS)
        return f"{self.reasoner:<11}{self.sink:<17}{counts}"

    def keep(self, folder: str | None) -> None:
        """For who prints the table of a whole run."""
        if folder:
            kept = {"reasoner": self.reasoner, "sink": self.sink, "counts": self.counts}
            Path(folder, f"{self.reasoner} {self.sink}.json").write_text(json.dumps(kept))


def kept(folder: str) -> list[Tally]:
    """What the tests of a run kept there, the model's first."""
    rows = [json.loads(path.read_text()) for path in sorted(Path(folder).iterdir())]
    return [Tally(row["reasoner"], row["sink"], Counter(row["counts"])) for row in rows]
