"""How large a storm is, and in which order things are killed. The figures of both forms are here."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Mode = Literal["production", "embedded"]
Part = Literal["web", "worker", "beat", "broker"]
# When a worker is killed: at any time, or while it carries out a restart, whose `executing` is committed:
# before the engine has the call, when it has it, when it has done it, or when it has said so.
Moment = Literal["any", "before", "received", "done", "answered"]
MODES: tuple[Mode, ...] = ("production", "embedded")
WINDOW: tuple[Moment, ...] = ("received", "done", "answered", "before")


@dataclass(frozen=True)
class Plan:
    """The size of a storm. Times in seconds."""

    incidents: int
    hosts: int
    kills: int
    in_window: int  # at least so many kills between `executing` and its result
    alerts: int  # at least so many alerts acknowledged
    actions: int  # at least so many actions begun
    at_once: int  # containers that are down at the same time, about
    first: int  # incidents that begin before the first kill
    reserve: int  # incidents that are kept for more kills in a change, in case there were too few
    # Between a kill and the next, beside what it takes until something can be killed again.
    pause: tuple[float, float]
    settle: float  # how long the work may take to come to its end after the last kill


FULL = Plan(
    incidents=300,
    hosts=30,
    kills=100,
    in_window=30,
    alerts=5000,
    actions=200,
    at_once=16,
    first=12,
    reserve=20,
    pause=(1.0, 4.0),
    settle=300.0,
)
SHORT = Plan(
    incidents=9,
    hosts=3,
    kills=5,
    in_window=1,
    alerts=36,
    actions=5,
    at_once=8,
    first=4,
    reserve=2,
    pause=(0.3, 1.0),
    settle=120.0,
)
RESTART_SECONDS = 0.8  # what an engine takes to restart a container, so that kills can be aimed into it
ALERT_AFTER = 2.5  # a rule's `for`: from the end of a container to its alerts
OWNER_LOOKS = 5.0  # between two looks of the owner, who starts by hand what the crew gave up
OWNER_AFTER = 900.0  # and whatever is down for so long
RECOVERY_P95 = 30.0
# Between two deliveries of a group that fires on. Embedded, an outage is over sooner, and would be sent less
# often.
REPEAT: dict[Mode, float] = {"production": 4.0, "embedded": 2.0}

# What the program is given beside its servers. The limits are raised as far as they go: the storm is not
# about them, and one of them reached would leave nothing to kill.
SETTINGS = {
    "REMEDIATION_MODE": "auto",
    "RESTARTS_PER_HOUR": "1000",
    "COOLDOWN_SECONDS": "0",
    "CHANGES_PER_HOUR": "100000",
    "PROOF_HOLD_SECONDS": "3",
    "RECONCILE_SECONDS": "5",
}


@dataclass(frozen=True)
class Kill:
    part: Part
    moment: Moment = "any"


def kills(plan: Plan, mode: Mode, dice: random.Random) -> list[Kill]:
    """Every kill of a storm, in its order. Four in ten are aimed at a change that is being made."""
    aimed = [
        Kill("web" if mode == "embedded" else "worker", WINDOW[turn % len(WINDOW)])
        for turn in range(plan.kills * 4 // 10)
    ]
    parts: tuple[Part, ...] = ("web",) if mode == "embedded" else ("web", "worker", "beat", "broker")
    others = [Kill(parts[turn % len(parts)]) for turn in range(plan.kills - len(aimed))]
    order = [*aimed, *others]
    dice.shuffle(order)
    return order
