"""What became of all the requests of a run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from tests.fuzz import FULL

SLOW_SECONDS = 5.0
Send: TypeAlias = Callable[[Any], None]


@dataclass
class Tally:
    """Counts, the slowest request, and every one that failed, in words that repeat it."""

    by_class: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    failures: list[str] = field(default_factory=list)
    handled: int = 0  # a known caller reached the code behind the door
    worked: set[str] = field(default_factory=set)  # operations that answered 2xx
    mixed: int = 0  # deliveries of which a part was kept

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
            f"{len(self.failures)} failed; the slowest took {seconds * 1000:.0f} ms ({label[:100]})"
        )


def generated(count: int, values: SearchStrategy[Any]) -> Callable[[Send], Callable[[], None]]:
    """Runs a function on that many values: the same ones in every run of the slice, new ones in a full run.

    Nothing is shrunk: a failure tells all that is needed to repeat it.
    """
    profile = settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=not FULL,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return lambda send: profile(given(values)(send))
