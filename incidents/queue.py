"""Rows that are a queue: what must happen is a committed row, a Celery message is only a hint.

A worker claims a row by compare-and-swap, which gives it a lease and raises the row's fence. The lease is
short, and renewed while the work goes on (`leases`). Every write of a result names the fence, so a worker
that lost its lease (it hung, or was stopped and came back) writes nothing. `sweep` repeats hints that were
lost.

Failures are counted (`attempts`), and apart from them the workers that were lost over a row without a word
(`lost_leases`): being killed is seldom a row's fault. A row that failed MAX_ATTEMPTS times, or lost MAX_LOST
workers in a row, is dead: visible, retryable, never silent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from incidents import broker, leases, rawsql
from incidents.context import about
from incidents.redaction import clean

logger = logging.getLogger(__name__)
HINT_AGAIN = timedelta(seconds=10)
LOST_AGAIN = timedelta(seconds=4)  # where a lease is over: its worker is lost, and what was told to it
SWEEP_ROWS = 100
# Between two attempts, at most: what a row waits for (a chat, Qdrant) may be back at any moment.
MAX_PAUSE_SECONDS = 60
MAX_DOUBLINGS = 10
# Of a row that lost more workers than this, the next one waits until the lease is over, for others to have a
# turn: it may be what killed them.
LOST_AT_ONCE = 2
CLAIM = """
    state = 'running', lease_until = {}, fence = fence + 1,
    lost_leases = lost_leases + CASE WHEN state = 'running' THEN 1 ELSE 0 END"""
DUE = "id = {} AND (state = 'waiting' AND due_at <= {} OR state = 'running' AND lease_until < {})"
HELD = "id = {} AND fence = {} AND state = 'running'"


class LeaseLost(RuntimeError):
    """Another worker has this row now; the work here must stop and write nothing."""


class State(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


LIVE = (State.WAITING, State.RUNNING)


class QueueQuerySet(models.QuerySet["QueueRow"]):
    """Reads and the claim; the writes of a claimed row are methods of the row."""

    def due(self, now: datetime | None = None) -> Self:
        now = now or timezone.now()
        waiting = Q(state=State.WAITING, due_at__lte=now)
        return self.filter(waiting | Q(state=State.RUNNING, lease_until__lt=now))

    def running(self) -> Self:
        return self.filter(state=State.RUNNING)

    def claim(self, pk: int, *, when_dead: Callable[[Any], None] = lambda row: None) -> Any:
        """The row with a fresh lease, or None when it is not due or another worker has it.

        None also when it has lost too many workers: then it is dead from now on, and `when_dead` is told.
        """
        now = timezone.now()
        sets, times = CLAIM, [now + timedelta(seconds=settings.LEASE_SECONDS)]
        if (begun := self.model.BEGUN) is not None:
            sets += f", {begun} = COALESCE({begun}, {{}})"
            times.append(now)
        found: list[Any] = rawsql.changed(self.model, sets, DUE, *times, pk, now, now)
        if not found:
            return None
        [row] = found
        leases.take(row, row.fence)
        if row.lost_leases <= row.MAX_LOST:
            return row
        error = f"given up: {row.lost_leases} workers in a row were killed, or hung"
        if row._write(state=State.DEAD, lease_until=None, error=error):
            when_dead(row)
        return None

    def take_hints(self) -> dict[int, State]:
        """The first due rows, of which nobody was told lately, by primary key; marked as told.

        Those behind them wait: in a backlog, a hint that is repeated is one more message before all of them.
        """
        now = timezone.now()
        pause = {State.WAITING: HINT_AGAIN, State.RUNNING: LOST_AGAIN}
        first = self.due(now).order_by("due_at").values_list("pk", "state", "hinted_at")[:SWEEP_ROWS]
        told = {pk: State(state) for pk, state, at in first if at is None or at < now - pause[State(state)]}
        self.filter(pk__in=told).update(hinted_at=now)
        return told


class QueueRow(models.Model):
    """Base of every row that waits for a worker. A model names its own `objects`."""

    TASK: ClassVar[str]  # the Celery task that works a row of this kind, by its full name
    MAX_ATTEMPTS: ClassVar[int] = 5
    MAX_LOST: ClassVar[int] = 10
    BACKOFF_SECONDS: ClassVar[int] = 5
    BEGUN: ClassVar[str | None] = None  # the field, if there is one, that keeps when it was first claimed

    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING, editable=False)
    due_at = models.DateTimeField(default=timezone.now, editable=False)
    hinted_at = models.DateTimeField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    fence = models.PositiveIntegerField(default=0, editable=False)
    attempts = models.PositiveIntegerField(
        default=0, editable=False, help_text="Failures since it last went well"
    )
    lost_leases = models.PositiveIntegerField(
        default=0, editable=False, help_text="Workers in a row that were killed at it, or hung"
    )
    error = models.TextField(blank=True, default="", editable=False)

    queue = QueueQuerySet.as_manager()
    objects = models.Manager()

    class Meta:
        abstract = True

    def _write(self, **fields: Any) -> bool:
        """Write as the holder of the lease; False when the lease was lost."""
        won = rawsql.change(type(self), fields, HELD, self.pk, self.fence) == 1
        if not won or "state" in fields:
            leases.drop(self, self.fence)
        else:
            leases.progress(self, self.fence)
        if not won:
            logger.warning("%s %s: lease lost, result dropped", type(self).__name__, self.pk)
            return False
        for name, value in fields.items():
            setattr(self, name, value)
        return True

    def finish(self, *, why: str = "", **fields: Any) -> bool:
        """`why`: there was nothing to do for it."""
        return self._write(state=State.DONE, lease_until=None, error=why, **fields)

    def save_progress(self, **fields: Any) -> bool:
        """Write fields and renew the lease; False when it was lost, and then the work must stop."""
        lease = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
        return self._write(lease_until=lease, **fields)

    def renew(self, **fields: Any) -> None:
        """A fresh lease in the middle of long work; LeaseLost when another worker has the row."""
        if not self.save_progress(**fields):
            raise LeaseLost(f"{type(self).__name__} {self.pk}")

    def put_back(self, *, seconds: float, **fields: Any) -> bool:
        """Give the row back to be taken up again after `seconds`: its turn went well."""
        return self._wait(seconds, attempts=0, lost_leases=0, error="", **fields)

    def postpone(self, *, seconds: float, **fields: Any) -> bool:
        """Give the row back, for its turn has not come: nothing was tried, so what is counted stays."""
        return self._wait(seconds, **fields)

    def fail(self, error: str, *, permanent: bool = False) -> bool:
        """Count a failure: try again later with growing pauses, or die after MAX_ATTEMPTS."""
        attempts, error = self.attempts + 1, clean(error)
        if permanent or attempts >= self.MAX_ATTEMPTS:
            return self._write(state=State.DEAD, lease_until=None, attempts=attempts, error=error)
        seconds = min(self.BACKOFF_SECONDS * 2 ** min(self.attempts, MAX_DOUBLINGS), MAX_PAUSE_SECONDS)
        return self._wait(seconds, attempts=attempts, lost_leases=0, error=error)

    def _wait(self, seconds: float, **fields: Any) -> bool:
        due = timezone.now() + timedelta(seconds=seconds)
        return self._write(state=State.WAITING, due_at=due, lease_until=None, hinted_at=None, **fields)


def anew() -> dict[str, Any]:
    """The fields of a row that is due now, as if it had never been tried."""
    counts = {"attempts": 0, "lost_leases": 0, "error": ""}
    return {"state": State.WAITING, "due_at": timezone.now(), "hinted_at": None, **counts}


def retry(row: QueueRow) -> bool:
    """A person lets a dead row live again; False when it is not dead."""
    won = type(row).queue.filter(pk=row.pk, state=State.DEAD).update(**anew())
    if won:
        hint(type(row), row.pk)
    return bool(won)


def give_up(row: QueueRow, *, by: str) -> bool:
    """A person lets a dead row rest, so that nobody is told of it any more; False when it is not dead."""
    dead = type(row).queue.filter(pk=row.pk, state=State.DEAD)
    return bool(dead.update(state=State.DONE, error=f"given up by {by}: {row.error}"))


@contextmanager
def working(row: QueueRow) -> Iterator[None]:
    """Record a crash on the row, and raise it again for the log."""
    try:
        with about(incident_id=getattr(row, "incident_id", None)):
            yield
    except Exception as error:
        leases.drop(row, row.fence)  # nobody is at it, whether the database hears of that or not
        row.fail(f"{type(error).__name__}: {error}")
        raise


def release_held() -> int:
    """Give back what this process claimed and will not finish, for it ends now; how many rows.

    The next worker takes them up at once instead of after the lease. The raised fence makes a thread that
    still works write nothing, and nothing is counted: the row did not fail, and no worker is lost.
    """
    held = leases.drop_all()
    return sum(_release(model.queue.filter(pk=pk, fence=fence)) for model, pk, fence in held)


def release_orphans() -> int:
    """Give back every running row; how many. Only for a worker that is alone: who claimed them is dead."""
    return sum(
        _release(model.queue.filter(lost_leases__lt=LOST_AT_ONCE), lost_leases=F("lost_leases") + 1)
        for model in QueueRow.__subclasses__()
    )


def _release(rows: QueueQuerySet, **fields: Any) -> int:
    return rows.running().update(
        state=State.WAITING,
        due_at=timezone.now(),
        lease_until=None,
        hinted_at=None,
        fence=F("fence") + 1,
        **fields,
    )


@dataclass
class Shift:
    """What a worker goes on with: a row that it wrote and claimed in one commit, until `ends`.

    That is of `time.monotonic()`. `following` is None until the commit.
    """

    ends: float
    claimed: bool = False
    following: Any = None


_shift: ContextVar[Shift | None] = ContextVar("shift", default=None)


@contextmanager
def shift(row: QueueRow, ends: float) -> Iterator[Shift]:
    """Work on a row. The first one that it `may_go_on_with` is the worker's own, too, unless it breaks."""
    mine = Shift(ends)
    token = _shift.set(mine)
    try:
        yield mine
    except Exception:
        leases.drop(row, row.fence)
        if (following := mine.following) is not None:
            leases.drop(following, following.fence)  # first, for the database may be what broke
            following.postpone(seconds=0.0)
        raise
    finally:
        _shift.reset(token)


def may_go_on_with(row: QueueRow) -> bool:
    """Claim a row that is about to be inserted in this transaction, if this worker goes on with it."""
    mine = _shift.get()
    if mine is None or mine.claimed or time.monotonic() > mine.ends:
        return False
    mine.claimed = True
    now = timezone.now()
    row.state, row.fence, row.lease_until = State.RUNNING, 1, now + timedelta(seconds=settings.LEASE_SECONDS)
    if row.BEGUN is not None:
        setattr(row, row.BEGUN, now)
    transaction.on_commit(lambda: _go_on(mine, row), robust=True)
    return True


def _go_on(mine: Shift, row: QueueRow) -> None:
    leases.take(row, row.fence)
    mine.following = row


def hint(model: type[QueueRow], pk: int) -> None:
    """Tell a worker of a row once the transaction is committed. A lost hint is repeated by the sweep."""
    transaction.on_commit(lambda: broker.send(model.TASK, pk), robust=True)


def sweep(model: type[QueueRow]) -> int:
    """Repeat the hints of due rows; how many. What a lost worker held has waited for its lease already."""
    told = model.queue.take_hints()
    for pk, state in told.items():
        broker.send(model.TASK, pk, first=state == State.RUNNING)
    return len(told)
