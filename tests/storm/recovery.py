"""How long the program needs after a kill until it works again, measured at its database.

It has recovered when the part that was killed is ready again, each row that the part held is free again or
claimed anew, and a worker has claimed a row since (or there is none to claim).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from .plan import Moment, Part
from .records import Held, Records

LOOK_SECONDS = 0.2


@dataclass
class Loss:
    """One kill and what followed. Times are seconds of the monotonic clock, None until then."""

    part: Part
    moment: Moment
    at: float
    held: Held = frozenset()
    cut_off: frozenset[int] = frozenset()  # actions that were killed between `executing` and their result
    ready_at: float | None = None
    claims_when_ready: int | None = None
    rows_at: float | None = None
    works_at: float | None = None

    @property
    def seconds(self) -> float | None:
        """Until it had recovered; None when it has not."""
        if self.ready_at is None or self.rows_at is None or self.works_at is None:
            return None
        return max(self.ready_at, self.rows_at, self.works_at) - self.at

    def after(self, step: str) -> float | None:
        """Seconds from the kill to one of the three."""
        at: float | None = getattr(self, step)
        return None if at is None else at - self.at


@dataclass
class Watch:
    """Looks at the rows until every loss has recovered; `run` in a thread of its own."""

    losses: list[Loss] = field(default_factory=list)

    def run(self, records: Records, ended: threading.Event) -> None:
        with records:
            while not ended.wait(LOOK_SECONDS):
                waiting = [
                    each for each in list(self.losses) if each.works_at is None or each.rows_at is None
                ]
                if waiting:
                    self._look(waiting, records)

    def _look(self, waiting: list[Loss], records: Records) -> None:
        held, claims, due = records.held(), records.claims(), records.due()
        now = time.monotonic()
        for loss in waiting:
            if loss.rows_at is None and not loss.held & held:
                loss.rows_at = now
            if loss.ready_at is None or loss.ready_at > now:
                continue
            if loss.claims_when_ready is None:
                loss.claims_when_ready = claims
            if loss.works_at is None and (claims > loss.claims_when_ready or not due):
                loss.works_at = now


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]
