"""What workers of production mode do otherwise than Celery's own. Celery imports it (CELERY_IMPORTS)."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any

from celery.signals import worker_process_init, worker_process_shutdown, worker_shutdown
from django.db import connections
from kombu.transport.redis import Channel

from incidents import memory, queue

logger = logging.getLogger(__name__)
# A worker that loses its broker would put the messages back that it had begun, and with Celery 5.7 and the
# broker away it dies of that: "Unrecoverable error: 'NoneType' object has no attribute 'hostname'". Messages
# are hints here, and the sweep repeats them.
Channel.do_restore = False


@worker_process_init.connect
def begin(**_: Any) -> None:
    """In a forked child. (Celery itself closes the database connections that it inherits.)"""
    memory.forget_index()  # its locks and connections are the parent's
    signal.signal(signal.SIGTERM, _end)


def _end(*_: object) -> None:
    """A child is told to end itself: by a second signal to its parent, or by whoever signals the whole group.

    By default it would be gone at once, and what it holds would wait for its lease.
    """
    sys.exit()


@worker_process_shutdown.connect
@worker_shutdown.connect
def give_back(**_: Any) -> None:
    """What is not finished now, another worker takes up at once."""
    connections.close_all()  # the end may have come in the middle of a statement
    if rows := queue.release_held():
        logger.info("%d rows given back to be worked on again", rows)
    connections.close_all()
