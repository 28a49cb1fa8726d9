"""What Celery does about Django, but for one thing: database connections are kept from task to task.

Celery's own closes them before and after each task, whatever CONN_MAX_AGE says, and to open one costs
PostgreSQL more than many a task does. Django keeps them from request to request in the same way.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from celery import Celery
from celery.fixups import django as celerys
from django.db import close_old_connections


class Connections(celerys.DjangoWorkerFixup):  # type: ignore[name-defined, misc]  # the stubs lack it
    def close_database(self, **_: Any) -> None:
        """Those that are broken, or older than CONN_MAX_AGE."""
        close_old_connections()


class Fixup(celerys.DjangoFixup):
    @cached_property
    def worker_fixup(self) -> Connections:
        return Connections(self.app)


def fixup(app: Celery) -> Fixup:
    """Celery calls it for a new application, and keeps what it returns."""
    made = Fixup(app)
    made.install()
    return made
