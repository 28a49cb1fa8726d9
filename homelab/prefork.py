"""What workers of production mode do otherwise than Celery's own. Celery imports it (CELERY_IMPORTS)."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any

from celery.signals import worker_process_init, worker_process_shutdown, worker_shutdown
from django.db import connections
from kombu.transport.redis import Channel, QoS, Transport
from redis import RedisError

from homelab import tracing
from homelab.postgresql import expect_answers
from incidents import broker, memory, queue

logger = logging.getLogger(__name__)


class HintQoS(QoS):
    """What a worker has begun of its messages, and does without when its connection is gone.

    With Celery 5.7 a worker dies of acknowledging (or of giving back) a message on a channel that was closed
    while its broker was away: "Unrecoverable error: 'NoneType' object has no attribute 'client'". Messages
    are hints here, and the sweep repeats those of rows that are still due.
    """

    def ack(self, delivery_tag: str) -> None:
        if self._is_open():
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if self._is_open():
            super().reject(delivery_tag, requeue=requeue)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        if self._is_open():
            super().restore_unacked_once(stderr=stderr)

    def _is_open(self) -> bool:
        transport = self.channel.connection
        return transport is not None and transport.client is not None


Channel.QoS = HintQoS
# What reading a garbled answer ends in. The connection is out of step then: a worker makes another, where it
# would have ended ("Unrecoverable error"). A hint that is lost so the sweep repeats.
Transport.connection_errors = (*Transport.connection_errors, *broker.GARBLED, RedisError)


@worker_process_init.connect
def begin(**_: Any) -> None:
    """In a forked child. (Celery itself closes the database connections that it inherits.)"""
    tracing.begin()
    expect_answers()
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
    tracing.end()
