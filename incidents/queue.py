"""Rows that are a queue: what must happen is a committed row, a Celery message is only a hint.

A worker claims a row by compare-and-swap, which gives it a lease and raises the row's fence. The lease is
short, and renewed while the work goes on (`leases`). Every write of a result names the fence, so a worker
that lost its lease (it hung, or was stopped and came back) writes nothing. `sweep` repeats hints that were
lost. After MAX_ATTEMPTS a row is dead: visible, retryable, never silent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from incidents import broker, leases

logger = logging.getLogger(__name__)
HINT_AGAIN = timedelta(seconds=10)
SWEEP_ROWS = 100
# Between two attempts, at most: what a row waits for (a chat, Qdrant) may be back at any moment.
MAX_PAUSE_SECONDS = 60
MAX_DOUBLINGS = 10


class LeaseLost(RuntimeError):
    """Another worker has this row now; the work here must stop and write nothing."""


class State(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"


class QueueQuerySet(models.QuerySet["QueueRow"]):
    """Reads and the claim; the writes of a claimed row are methods of the row."""

    def due(self, now: datetime | None = None) -> Self:
        now = now or timezone.now()
        waiting = Q(state=State.WAITING, due_at__lte=now)
        return self.filter(waiting | Q(state=State.RUNNING, lease_until__lt=now))

    def running(self) -> Self:
        return self.filter(state=State.RUNNING)

    def claim(self, pk: int) -> Any:
        """The row with a fresh lease, or None when it is not due or another worker has it."""
        now = timezone.now()
        won = (
            self.filter(pk=pk)
            .due(now)
            .update(
                state=State.RUNNING,
                lease_until=now + timedelta(seconds=settings.LEASE_SECONDS),
                fence=F("fence") + 1,
                attempts=F("attempts") + 1,
            )
        )
        if not won:
            return None
        row = self.get(pk=pk)
        leases.take(row, row.fence)
        return row

    def take_hints(self) -> list[int]:
        """Primary keys of due rows that nobody was told of lately, marked as told."""
        now = timezone.now()
        stale = Q(hinted_at=None) | Q(hinted_at__lt=now - HINT_AGAIN)
        keys = list(self.due(now).filter(stale).order_by("due_at").values_list("pk", flat=True)[:SWEEP_ROWS])
        self.filter(pk__in=keys).update(hinted_at=now)
        return keys


class QueueRow(models.Model):
    """Base of every row that waits for a worker. A model names its own `objects`."""

    TASK: ClassVar[str]  # the Celery task that works a row of this kind, by its full name
    MAX_ATTEMPTS: ClassVar[int] = 5
    BACKOFF_SECONDS: ClassVar[int] = 5

    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING, editable=False)
    due_at = models.DateTimeField(default=timezone.now, editable=False)
    hinted_at = models.DateTimeField(null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    fence = models.PositiveIntegerField(default=0, editable=False)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    error = models.TextField(blank=True, default="", editable=False)

    queue = QueueQuerySet.as_manager()
    objects = models.Manager()

    class Meta:
        abstract = True

    def _write(self, **fields: Any) -> bool:
        """Write as the holder of the lease; False when the lease was lost."""
        held = type(self)._default_manager.filter(pk=self.pk, fence=self.fence, state=State.RUNNING)
        won = held.update(**fields) == 1
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

    def finish(self, **fields: Any) -> bool:
        return self._write(state=State.DONE, lease_until=None, error="", **fields)

    def save_progress(self, **fields: Any) -> bool:
        """Write fields and renew the lease; False when it was lost, and then the work must stop."""
        lease = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
        return self._write(lease_until=lease, **fields)

    def renew(self) -> None:
        """A fresh lease in the middle of long work; LeaseLost when another worker has the row."""
        if not self.save_progress():
            raise LeaseLost(f"{type(self).__name__} {self.pk}")

    def put_back(self, *, seconds: float, **fields: Any) -> bool:
        """Give the row back to be taken up again after `seconds`; not a failure."""
        due = timezone.now() + timedelta(seconds=seconds)
        return self._write(
            state=State.WAITING, due_at=due, lease_until=None, hinted_at=None, attempts=0, error="", **fields
        )

    def fail(self, error: str, *, permanent: bool = False) -> bool:
        """Try again later with growing pauses, or die after MAX_ATTEMPTS."""
        if permanent or self.attempts >= self.MAX_ATTEMPTS:
            return self._write(state=State.DEAD, lease_until=None, error=error)
        seconds = min(self.BACKOFF_SECONDS * 2 ** min(self.attempts - 1, MAX_DOUBLINGS), MAX_PAUSE_SECONDS)
        due = timezone.now() + timedelta(seconds=seconds)
        return self._write(state=State.WAITING, due_at=due, lease_until=None, hinted_at=None, error=error)


def retry(row: QueueRow) -> bool:
    """A person lets a dead row live again; False when it is not dead."""
    won = (
        type(row)
        .queue.filter(pk=row.pk, state=State.DEAD)
        .update(state=State.WAITING, due_at=timezone.now(), attempts=0, hinted_at=None, error="")
    )
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
        yield
    except Exception as error:
        row.fail(f"{type(error).__name__}: {error}")
        raise


def release_held() -> int:
    """Give back what this process claimed and will not finish, for it ends now; how many rows.

    The next worker takes them up at once instead of after the lease. The raised fence makes a thread that
    still works write nothing, and the attempt does not count: the row did not fail.
    """
    return sum(
        _release(model.queue.filter(pk=pk, fence=fence), attempts=F("attempts") - 1)
        for model, pk, fence in leases.drop_all()
    )


def release_orphans() -> int:
    """Give back every running row; how many. Only for a worker that is alone: who claimed them is dead.

    A row that saw several workers die waits for the end of its lease: it may be what killed them.
    """
    return sum(_release(model.queue.filter(attempts__lte=2)) for model in QueueRow.__subclasses__())


def _release(rows: QueueQuerySet, **fields: Any) -> int:
    return rows.running().update(
        state=State.WAITING,
        due_at=timezone.now(),
        lease_until=None,
        hinted_at=None,
        fence=F("fence") + 1,
        **fields,
    )


def hint(model: type[QueueRow], pk: int) -> None:
    """Tell a worker of a row once the transaction is committed. A lost hint is repeated by the sweep."""
    transaction.on_commit(lambda: broker.send(model.TASK, pk), robust=True)


def sweep(model: type[QueueRow]) -> int:
    """Repeat the hints of due rows; how many."""
    keys = model.queue.take_hints()
    for pk in keys:
        broker.send(model.TASK, pk)
    return len(keys)
