"""Group commit: requests that arrive at the same moment are committed together.

A commit waits for the disk, and a delivery needs the same few statements whether it brings one alert or
fifty. So the first thread does the work of all that wait, while the next ones gather. A request that is alone
is worked at once; where several came together a moment ago, as many are waited for, for some milliseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False)
class _Waiting(Generic[T, R]):
    item: T
    woken: threading.Event = field(default_factory=threading.Event)
    results: list[R] = field(default_factory=list)
    error: Exception | None = None

    @property
    def served(self) -> bool:
        return bool(self.results) or self.error is not None


class Together(Generic[T, R]):
    """Calls of `one(item)` from many threads become calls of `work(items)`, one at a time.

    `work` gives a result for each item, in their order. When it fails for several, each is tried alone, so
    that nobody is refused for what came with another; but not after an error of `hopeless`.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R]],
        *,
        most: int,
        gather: float = 0.0,
        hopeless: tuple[type[Exception], ...] = (),
    ) -> None:
        self._work = work
        self._most = most
        self._gather = gather  # seconds
        self._expected = 1
        self._hopeless = hopeless
        self._lock = threading.Condition()  # notified when as many wait as are expected
        self._waiting: list[_Waiting[T, R]] = []
        self._busy = False

    def one(self, item: T) -> R:
        """The result for an item, or the exception that working it raised."""
        mine = _Waiting[T, R](item)
        with self._lock:
            self._waiting.append(mine)
            leads, self._busy = not self._busy, True
            if len(self._waiting) >= self._expected:
                self._lock.notify_all()
        if not leads:
            mine.woken.wait()
        if not mine.served:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return mine.results[0]

    def _lead(self) -> None:
        """Serve those who wait, oneself among them, and let the first of the later ones lead on."""
        with self._lock:
            self._lock.wait_for(lambda: len(self._waiting) >= self._expected, self._gather)
            taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            self._serve(taken)
        finally:
            with self._lock:
                # Who is answered now may soon be back, and they would be two halves that take turns.
                self._expected = min(len(taken) + len(self._waiting), self._most)
                following = self._waiting[0] if self._waiting else None
                self._busy = following is not None
            for each in taken:
                if not each.served:
                    each.error = RuntimeError("the thread that did the work was ended")
                each.woken.set()
            if following is not None:
                following.woken.set()

    def _serve(self, taken: Sequence[_Waiting[T, R]]) -> None:
        try:
            results = self._work([each.item for each in taken])
        except Exception as error:  # noqa: BLE001 it is raised again, in the thread of whoever waits for it
            if len(taken) > 1 and not isinstance(error, self._hopeless):
                for each in taken:
                    self._serve([each])
                return
            for each in taken:
                each.error = error
            return
        for each, result in zip(taken, results, strict=True):
            each.results.append(result)
