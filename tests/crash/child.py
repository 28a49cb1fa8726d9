"""`python -m tests.crash`: has everything imported, and forks a process for each order it reads.

A forked process costs milliseconds where a start of the program costs seconds, and it can be killed alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import apprise
import numpy as np
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.urls import resolve

import incidents.memory.store_here  # noqa: F401 else each process would import it at first use
from agents.models import Action
from agents.tools import docker_client
from homelab import crashpoints
from homelab.env import database_at
from incidents.access import create_token
from incidents.memory import embed
from incidents.models import Event, Incident, MemoryEntry, Notification, Role
from incidents.queue import QueueRow
from tests.crash.home import TOKENS, Home
from tests.crash.lives import LIVES
from tests.crash.order import FOUND, Order
from tests.crash.world import HOST

SECONDS = 300  # a life takes one, on a machine that has nothing else to do
DATABASE = "db.sqlite3"


class Embedder:
    """A model that takes no time."""

    name = "fake"
    size = 2

    def embed(self, texts: Sequence[str]) -> embed.Vectors:
        return embed.unit_rows(np.array([[len(text), 1.0] for text in texts]))


def prepare(directory: Path) -> None:
    """A database with its tables and a token of each role."""
    call_command("migrate", verbosity=0)
    tokens = {role.value: create_token(name=role, role=role)[1] for role in Role}
    (directory / TOKENS).write_text(json.dumps(tokens))


def live(order: Order) -> None:
    directory = Path(order.directory)
    use(directory / DATABASE)
    if not order.life:
        prepare(directory)
        return
    settings.DOCKER_HOSTS = {HOST: order.docker}
    settings.NOTIFY_URLS = [order.world.replace("http://", "json://")]
    settings.PROOF_HOLD_SECONDS, settings.PROOF_TIMEOUT_SECONDS = 3, 20
    docker_client.STOP_GRACE_SECONDS = 0.0  # the engine of these tests tells of an end at once
    home = Home(directory, order.world)
    reached: list[tuple[str, str]] = []
    if order.crash:
        crashpoints.watch(crashpoints.parse(order.crash, directory))
    else:
        crashpoints.watch(lambda point: reached.append((point, home.doing)))
    LIVES[order.life](home)
    (directory / FOUND).write_text(json.dumps({"reached": reached, **found()}))


def found() -> dict[str, Any]:
    """What the records say at the end, to be held against the world and against a life without a crash."""
    kinds = Event.objects.order_by("pk").values_list("kind", flat=True)
    # what another message told along has its words there
    sent = Notification.queue.filter(sent_at__isnull=False, carrier=None).values_list("title", flat=True)
    rows = [row for model in QueueRow.__subclasses__() for row in model.queue.all()]
    return {
        "targets": list(Incident.objects.order_by("pk").values_list("target__key", flat=True)),
        "verdicts": list(Incident.objects.order_by("pk").values_list("verdict", flat=True)),
        "actions": list(Action.objects.order_by("pk").values_list("status", flat=True)),
        "events": Counter(kinds),
        "sent": list(sent),
        "remembered": list(
            MemoryEntry.queue.filter(synced_at__isnull=False).values_list("incident", flat=True)
        ),
        "states": Counter(f"{type(row).__name__} {row.state}" for row in rows),
    }


def use(database: Path) -> None:
    described = database_at(f"sqlite:///{database}", "DATABASE_URL")
    # What a killed process has written, the kernel has; only a power cut would need the disk to have it.
    described["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
    connections.settings.update(connections.configure_settings({"default": described}))
    connections["default"] = connections.create_connection("default")


def warm_up() -> None:
    """Make here, or do without, what would cost each process as much as all the rest."""
    resolve("/alert")
    apprise.Apprise().add("json://localhost")
    embed._make = lambda setting: Embedder()


def main() -> None:
    warm_up()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            obey(Order(**json.loads(line)))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def obey(order: Order) -> NoReturn:
    """In a forked process: carry out an order and end, without what an interpreter does at its end."""
    signal.alarm(SECONDS)
    code = os.EX_SOFTWARE
    try:
        live(order)
        code = os.EX_OK
    finally:
        if code:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
