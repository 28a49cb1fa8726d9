"""The demo from its beginning to its end, and the clearing up after it, whatever ends it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from django.conf import settings

from agents.tools import alertmanager
from agents.tools.base import ToolError
from homelab import banner
from homelab.demo import metrics, real, simulated
from homelab.demo.alert import Alert, Alertmanager, Road, Webhook
from homelab.demo.client import DemoError, Json, Server, connect
from homelab.demo.container import Container, find_host
from homelab.demo.follow import Follower
from homelab.demo.service import Service
from homelab.demo.terminal import GREEN, RED, Terminal

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SYNC_SECONDS = 5.0


def play(*, url: str | None, token: str | None, yes: bool) -> int:
    """The exit code: 0 when the incident ended as it should."""
    terminal = Terminal.of(sys.stdout)
    try:
        with interruptible(terminal), ExitStack() as stack:
            server = connect(url=url, token=token, data_dir=settings.DATA_DIR)
            host, why_not = find_host()
            if host is not None:
                return 0 if _real(server, terminal, host, yes, stack) else 1
            return 0 if _simulated(server, terminal, why_not, stack) else 1
    except (DemoError, ToolError) as error:
        terminal.clear()
        sys.exit(str(error))


def _real(server: Server, terminal: Terminal, host: str, yes: bool, stack: ExitStack) -> bool:
    road = _road(server, terminal)
    by = f"Alertmanager at {banner.shown(road.url)}" if isinstance(road, Alertmanager) else "the webhook"
    _headline(server, terminal, f"A container on Docker host {host} is killed; its alert comes by {by}.")
    before = server.metrics()
    container = Container(host)
    terminal.waiting("starts a container (pulls busybox where there is none)")
    stack.callback(_tidy, terminal, f"the container {container.name}", container.remove)
    image = container.run()
    terminal.start()
    terminal.tell("demo", f"starts {container.name} ({image}, no network)")
    container.kill()
    terminal.tell("demo", "kills its main process (SIGKILL)")
    alert = real.alert_about(container)
    follower = _send(alert, road, server, terminal, stack)
    good = real.follow(follower, real.Owner(server, terminal, container, road, alert, yes))
    _summary(follower, before, GREEN if good else RED)
    return good


def _simulated(server: Server, terminal: Terminal, why: str, stack: ExitStack) -> bool:
    terminal.mark, terminal.never = simulated.MARK, simulated.NEVER
    _headline(server, terminal, f"A process is killed, not a container: {why}.")
    before = server.metrics()
    service, road = Service(), Webhook(server)
    stack.callback(service.remove)
    pid = service.start()
    terminal.start()
    terminal.tell("demo", f"starts an HTTP server on {service.address} (process {pid})")
    service.kill()
    terminal.tell("demo", "kills it (SIGKILL)")
    alert = simulated.alert_about(service)
    follower = _send(alert, road, server, terminal, stack)
    good = simulated.follow(follower, simulated.Person(server, terminal, service, road, alert))
    _summary(follower, before, GREEN if good else RED)
    return good


def _send(alert: Alert, road: Road, server: Server, terminal: Terminal, stack: ExitStack) -> Follower:
    """The alert on its way, and a follower of the incident it led to; in the end neither stays open."""
    terminal.tell("demo", f"sends the alert {alert.name}")
    stack.callback(_tidy, terminal, f"the alert {alert.name}", lambda: road.resolve(alert))
    follower = Follower(server, terminal, road.fire(alert))
    stack.callback(_tidy, terminal, "the incident", lambda: _close_if_open(follower))
    return follower


def _road(server: Server, terminal: Terminal) -> Road:
    """By the real Alertmanager where one answers."""
    if settings.ALERTMANAGER_URL is not None:
        health = alertmanager.INTEGRATION.check()
        if health.ok:
            return Alertmanager(settings.ALERTMANAGER_URL, server, terminal)
        terminal.line(f"Alertmanager is passed by: {health.detail}")
    return Webhook(server)


def _headline(server: Server, terminal: Terminal, plan: str) -> None:
    terminal.heading(f"homelab {server.health()['version']} at {server.url}")
    terminal.line(plan)
    terminal.blank()


def _summary(follower: Follower, before: str, colour: int) -> None:
    """What `/metrics` says of it, where to read on, and the verdict."""
    terminal, server = follower.terminal, follower.server
    incident: Json = server.incident(follower.incident)
    verdict, note = incident["verdict"], incident["proof_note"]
    after = _settled_metrics(server, before)
    terminal.blank()
    lines = [line for line in metrics.table(before, after) if not (terminal.never and terminal.never in line)]
    for number, line in enumerate(lines):
        terminal.fact("metrics" if number == 0 else "", line)
    if incident["resolution_time"] is not None:
        terminal.fact("time", f"{incident['resolution_time']:.1f} s from the alert's start to the proof")
    terminal.fact("page", server.page(follower.incident))
    terminal.fact("verdict", f"{verdict}: {note}" if note else verdict, colour)


def _settled_metrics(server: Server, before: str) -> str:
    """After the closed incident has reached the memory, which takes a moment."""
    ends = time.monotonic() + SYNC_SECONDS
    while True:
        after = server.metrics()
        waiting = metrics.samples(after).get(metrics.UNSYNCED, 0) - metrics.samples(before).get(
            metrics.UNSYNCED, 0
        )
        if waiting <= 0 or time.monotonic() > ends:
            return after
        time.sleep(0.5)


def _close_if_open(follower: Follower) -> None:
    """An incident of a demo that was stopped half-way would wait for ever, and draw the next one's alert."""
    if follower.server.incident(follower.incident)["verdict"] is None:
        follower.server.close_by_hand(follower.incident, "the demo was stopped half-way")


def _tidy(terminal: Terminal, what: str, undo: Callable[[], object]) -> None:
    """One thing that stays behind must not keep the others from being cleared up."""
    try:
        undo()
    except (DemoError, ToolError) as error:
        terminal.line(f"Left behind: {what}: {error}")


@contextmanager
def interruptible(terminal: Terminal) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the demo, which then clears up undisturbed."""

    def stop(number: int, _: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        terminal.blank()
        terminal.line("Stopped; clears up.")
        sys.exit(128 + number)

    before = {each: signal.signal(each, stop) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
