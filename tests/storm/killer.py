"""SIGKILL, again and again: to a part at any time, or to a worker in the middle of a change to the world."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from .plan import Kill, Moment, Part, Plan
from .records import Records
from .recovery import Loss, Watch
from .stage import Stage

DOWN_SECONDS = (0.3, 1.5)  # for so long nobody starts what was killed
AIM_SECONDS = 20.0  # then the kill comes without having met a change
FIND_SECONDS = 0.004  # between two looks for an action that begins
COMMITTED_SECONDS = 0.3  # a commit that was under way when its client was killed is over by then


class Restarts:
    """What the engines are doing: lets a kill wait until a restart is at a phase."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen: dict[str, int] = {}

    def watch(self, phase: str, _name: str) -> None:
        """Called by the engines, in the middle of it."""
        with self._changed:
            self._seen[phase] = self._seen.get(phase, 0) + 1
            self._changed.notify_all()
        if phase == "done":
            time.sleep(0.05)  # what was done is not answered in the same moment; a kill may come between

    def wait(self, phase: str, seconds: float) -> bool:
        """Until the next restart is there; False when none came."""
        with self._changed:
            before = self._seen.get(phase, 0)
            return self._changed.wait_for(lambda: self._seen.get(phase, 0) > before, seconds)


class Killer:
    """Carries out the kills of a plan and tells the watch of each.

    `keep_up` is called before each, with the number of those that were.
    """

    def __init__(
        self,
        stage: Stage,
        restarts: Restarts,
        watch: Watch,
        dice: random.Random,
        keep_up: Callable[[int], None],
    ) -> None:
        self._stage, self._restarts, self._watch = stage, restarts, watch
        self._dice, self._keep_up = dice, keep_up
        self._starting: dict[Part, threading.Thread] = {}
        self._failures: list[Exception] = []
        self._cut_off: frozenset[int] = frozenset()

    @property
    def in_window(self) -> int:
        return sum(bool(each.cut_off) for each in self._watch.losses)

    def run(self, order: list[Kill], plan: Plan) -> None:
        """All kills, and then aimed ones until the plan has as many as it wants, in `plan.reserve` tries."""
        with self._stage.records() as records:
            for each in order:
                self._kill(each, plan, records)
            for turn in range(plan.reserve):
                if self.in_window >= plan.in_window:
                    break
                self._kill(Kill(self._stage.working, ("received", "done")[turn % 2]), plan, records)
        for thread in self._starting.values():
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _kill(self, kill: Kill, plan: Plan, records: Records) -> None:
        if (starting := self._starting.get(kill.part)) is not None:
            starting.join()  # what does not live cannot be killed
        if self._failures:
            raise self._failures[0]
        time.sleep(self._dice.uniform(*plan.pause))
        self._keep_up(len(self._watch.losses))  # now, so that there is something to aim at
        self._aim(kill.moment, records)
        loss = Loss(kill.part, kill.moment, time.monotonic())
        self._stage.kill(kill.part)
        if kill.part == self._stage.working:
            time.sleep(COMMITTED_SECONDS)
            loss.held = records.held()
            executing = records.executing()
            loss.cut_off, self._cut_off = executing - self._cut_off, executing
        thread = threading.Thread(target=self._restart, args=(loss,), daemon=True)
        self._starting[kill.part] = thread
        thread.start()
        self._watch.losses.append(loss)

    def _aim(self, moment: Moment, records: Records) -> None:
        if moment == "before":
            self._find_beginning(records)
        elif moment != "any":
            self._restarts.wait(moment, AIM_SECONDS)

    def _find_beginning(self, records: Records) -> None:
        """Until an action executes that did not when we began to look; the engine has no call of it yet."""
        before, ends = records.executing(), time.monotonic() + AIM_SECONDS
        while time.monotonic() < ends:
            now = records.executing()
            if now - before:
                return
            before = now
            time.sleep(FIND_SECONDS)

    def _restart(self, loss: Loss) -> None:
        time.sleep(self._dice.uniform(*DOWN_SECONDS))
        try:
            self._stage.restart(loss.part)
        except (RuntimeError, TimeoutError) as error:
            self._failures.append(error)
        loss.ready_at = time.monotonic()
