"""What this process has claimed, and the thread that keeps it claimed while the work goes on.

A lease is short, so that another worker soon takes up what a killed one held; a call to a model is long. So
a thread renews the leases of everything that this process holds. It stops for a row that nobody wrote to in
LEASE_LIMIT_SECONDS: whoever claimed that hangs, and must lose it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Model, Q
from django.utils import timezone

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Hold:
    fence: int
    since: float  # time.monotonic() of the claim, or of the last sign of progress


_held: dict[tuple[type[Model], int], _Hold] = {}
_thread: threading.Thread | None = None
_start = threading.Lock()


def take(row: Model, fence: int) -> None:
    """This process holds the row from now on."""
    _held[type(row), row.pk] = _Hold(fence, time.monotonic())
    _keep_renewing()


def progress(row: Model, fence: int) -> None:
    """Who works on the row has shown that it lives."""
    if hold := _mine(row, fence):
        hold.since = time.monotonic()


def drop(row: Model, fence: int) -> None:
    """Hold the row no longer."""
    if _mine(row, fence):
        _held.pop((type(row), row.pk), None)


def _mine(row: Model, fence: int) -> _Hold | None:
    """None also when the lease was lost, and another thread of this process has claimed the row since."""
    hold = _held.get((type(row), row.pk))
    return hold if hold is not None and hold.fence == fence else None


def drop_all() -> Iterator[tuple[type[Any], int, int]]:
    """Model, primary key and fence of everything held; none of it is held any more."""
    while _held:
        (model, pk), hold = _held.popitem()
        yield model, pk, hold.fence


def renew() -> int:
    """Renew what is held by work that does not hang: one UPDATE a model; how many rows were still ours."""
    oldest = time.monotonic() - settings.LEASE_LIMIT_SECONDS
    mine: dict[type[Model], Q] = {}
    for (model, pk), hold in list(_held.items()):
        if hold.since > oldest:
            mine[model] = mine.get(model, Q()) | Q(pk=pk, fence=hold.fence)
    until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
    # Those that still have a lease: the others were given back a moment ago.
    return sum(
        model._default_manager.filter(rows, lease_until__isnull=False).update(lease_until=until)
        for model, rows in mine.items()
    )


def _keep_renewing() -> None:
    global _thread  # noqa: PLW0603 one a process
    if _thread is not None and _thread.is_alive():
        return
    with _start:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_renew_for_ever, name="leases", daemon=True)
            _thread.start()


def _renew_for_ever() -> None:
    while True:
        time.sleep(settings.LEASE_RENEW_SECONDS)
        if not _held:
            continue
        try:
            renew()
        except DatabaseError as error:
            logger.warning("leases are not renewed: %s", error)
        finally:
            connection.close()  # used for a moment every few seconds; and a broken one must not stay


def _forget_parent() -> None:
    """After a fork: what the parent holds is not ours, its threads are not here, its locks may be taken."""
    global _thread, _start
    _held.clear()
    _thread, _start = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_parent)
