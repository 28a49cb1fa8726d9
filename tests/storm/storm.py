"""One storm: start everything, break things and kill, let it come to its end, and audit it."""

from __future__ import annotations

import json
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import plan as plans
from .audit import Audit, audit
from .engine import Call, Engine
from .killer import Killer, Restarts
from .outages import World, alertmanager_api
from .plan import Mode, Plan
from .records import Records
from .recovery import Loss, Watch
from .sender import Ledger, Sender
from .stage import Stage, running, wait_for_inventory

PEER_SECONDS = 2.0  # how much later the other of the pair sends
PATIENCE = 60.0  # then the next containers end, however many are down


@dataclass(frozen=True)
class Result:
    mode: Mode
    plan: Plan
    seed: int
    seconds: float
    audit: Audit
    ledger: Ledger
    losses: list[Loss]
    outages: int
    started_by_hand: int
    load: float  # of the machine over the last quarter of an hour: what else runs here shows in the timings


def run(mode: Mode, plan: Plan, directory: Path, *, seed: int, say: Callable[[str], None]) -> Result:
    """A storm and its audit. Everything random comes from `seed`, but not how processes interleave."""
    began = time.monotonic()
    dice, calls, restarts, watch = random.Random(seed), list[Call](), Restarts(), Watch()
    with ExitStack() as stack:
        engines = _engines(plan, calls, restarts)
        for engine in engines.values():
            stack.enter_context(engine)
        world = World(engines)
        listing = stack.enter_context(alertmanager_api(world))
        hosts = ",".join(f"{host}={engine.url}" for host, engine in engines.items())
        variables = {**plans.SETTINGS, "DOCKER_HOSTS": hosts, "ALERTMANAGER_URL": listing.url}
        stage = stack.enter_context(running(mode, directory, variables))
        records = stack.enter_context(stage.records())
        wait_for_inventory(records, plan.incidents)
        say(f"{mode}, seed {seed}: runs after {time.monotonic() - began:.0f} s")
        ledger, senders = _senders(stage, plans.REPEAT[mode], seed)
        for sender in senders:
            stack.callback(sender.stop)
        with (
            _beside(lambda until: _own(world, stage, until)),
            _beside(lambda until: watch.run(stage.records(), until)),
        ):
            outages = _Outages(plan, world, senders, say)
            Killer(stage, restarts, watch, dice, outages.keep_up).run(plans.kills(plan, mode, dice), plan)
            outages.end()
            _settle(records, senders, plan, say)
        found = audit(records, ledger, world.outages, calls)
        _keep(directory, calls)
    return Result(
        mode=mode,
        plan=plan,
        seed=seed,
        seconds=time.monotonic() - began,
        audit=found,
        ledger=ledger,
        losses=watch.losses,
        outages=len(world.outages),
        started_by_hand=world.started_by_hand,
        load=os.getloadavg()[2],
    )


class _Outages:
    """Lets containers end at the pace of the kills, so that each of them finds work; but not many at once.

    What a program takes to recover is asked here, not what it takes to work off a backlog.
    """

    def __init__(self, plan: Plan, world: World, senders: list[Sender], say: Callable[[str], None]) -> None:
        self._plan, self._world, self._senders, self._say = plan, world, senders, say

    def keep_up(self, kills: int) -> None:
        """Called before each kill, with how many there were; waits while too much is down."""
        plan = self._plan
        later = plan.incidents - plan.first - plan.reserve
        beyond = max(0, kills - plan.kills)  # those kept in reserve come one a kill
        self._reach(plan.first + later * min(kills, plan.kills) // plan.kills + beyond)
        if kills and kills % 10 == 0:
            self._say(f"  {kills} kills, {len(self._world.outages)} outages, {self._down()} of them not over")

    def end(self) -> None:
        self._reach(self._plan.incidents)

    def _reach(self, count: int) -> None:
        ends = time.monotonic() + PATIENCE
        while len(self._world.outages) < count:
            if self._down() >= self._plan.at_once and time.monotonic() < ends:
                time.sleep(0.2)
            elif (outage := self._world.break_one()) is not None:
                for peer, sender in enumerate(self._senders):
                    sender.take(outage, after=plans.ALERT_AFTER + peer * PEER_SECONDS)

    def _down(self) -> int:
        return sum(each.over_at is None for each in self._world.outages)


def _engines(plan: Plan, calls: list[Call], restarts: Restarts) -> dict[str, Engine]:
    """Hosts with containers of random names; names are on one host only."""
    names = [f"shop{number:03}{secrets.token_hex(2)}" for number in range(plan.incidents)]
    return {
        (host := f"host{number:02}"): Engine(
            host,
            names[number :: plan.hosts],
            calls=calls,
            restart_seconds=plans.RESTART_SECONDS,
            watch=restarts.watch,
        )
        for number in range(plan.hosts)
    }


def _senders(stage: Stage, repeat: float, seed: int) -> tuple[Ledger, list[Sender]]:
    ledger, url = Ledger(), stage.program.url
    return ledger, [Sender(url, stage.token, ledger, repeat=repeat, seed=seed + peer) for peer in range(2)]


@contextmanager
def _beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `work` in a thread meanwhile, until its event is set."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _own(world: World, stage: Stage, ended: threading.Event) -> None:
    with stage.records() as records:
        while not ended.wait(plans.OWNER_LOOKS):
            world.start_by_hand(records.given_up())


def _settle(records: Records, senders: list[Sender], plan: Plan, say: Callable[[str], None]) -> None:
    """Wait until everything was sent and nothing is left to do; the audit says what is, after too long."""
    began = said_at = time.monotonic()
    quiet = 0
    while time.monotonic() - began < plan.settle and quiet < 3:
        time.sleep(0.5)
        left = {"senders at work": sum(not each.idle() for each in senders), **records.unsettled()}
        quiet = 0 if any(left.values()) else quiet + 1
        if time.monotonic() - said_at > 15:
            said_at = time.monotonic()
            say("  still: " + ", ".join(f"{count} {what}" for what, count in left.items() if count))
    say(f"  at its end {time.monotonic() - began:.0f} s after the last kill")


def _keep(directory: Path, calls: list[Call]) -> None:
    """Every call to the engines, a line each."""
    with (directory / "engine-calls.jsonl").open("w") as output:
        output.writelines(json.dumps(vars(call)) + "\n" for call in calls)
