"""What became of all the requests of a run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SLOW_SECONDS = 5.0


@dataclass
class Tally:
    """Counts, the slowest request, and every one that failed, in words that repeat it."""

    by_class: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    failures: list[str] = field(default_factory=list)
    handled: int = 0  # a known caller reached the code behind the door

    @property
    def requests(self) -> int:
        return self.by_class.total()

    @contextmanager
    def timed(self, label: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self.slowest = max(self.slowest, (seconds, label))
        if seconds > SLOW_SECONDS:
            self.failures.append(f"{label}: took {seconds:.1f} s")

    def answered(self, status: int, label: str) -> None:
        """Count an answer; any 5xx is a failure, 503 too: nothing was broken that it could speak of."""
        self.by_class[f"{status // 100}xx"] += 1
        if status >= 500:
            self.failures.append(f"{label}: answered {status}")

    def __str__(self) -> str:
        classes = ", ".join(f"{count} {name}" for name, count in sorted(self.by_class.items()))
        seconds, label = self.slowest
        return (
            f"{self.requests} requests: {classes}; {self.handled} by a known caller that reached a handler; "
            f"{len(self.failures)} failed; the slowest took {seconds * 1000:.0f} ms ({label})"
        )
