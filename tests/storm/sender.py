"""An Alertmanager of a pair that has lost sight of its peer: it sends every group, and so does the other.

It tries again after a refused connection, a timeout and a 5xx, with growing pauses; after a 4xx it gives up.
Now and then a delivery comes a second time, much later. What got a 2xx is remembered, alert by alert.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

import requests

from tests.e2e.process import http_session

from .outages import Alert, Outage

THREADS = 4
GIVE_UP = 60.0  # the next delivery of the group says what is true then
TIMEOUT = 10.0
FIRST_PAUSE, GROWTH = 0.5, 1.5
LATE_SHARE = 0.2  # of the deliveries that come a second time


@dataclass(frozen=True)
class Acked:
    """A delivery that got a 2xx: its body's SHA-256, its alerts, and between which moments it was made."""

    digest: str
    alerts: tuple[Alert, ...]
    sent_at: float
    answered_at: float


@dataclass
class Ledger:
    """What senders were answered. They share one."""

    acked: list[Acked] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    late: int = 0
    gave_up: int = 0

    @property
    def alerts(self) -> int:
        return sum(len(each.alerts) for each in self.acked)


class Sender:
    """`take` gives it a group to send until all of it is resolved, every `repeat` seconds or so.

    `idle` says whether all are.
    """

    def __init__(self, url: str, token: str, ledger: Ledger, *, repeat: float, seed: int) -> None:
        self.url, self.ledger, self._repeat = f"{url}/alert", ledger, repeat
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._dice = random.Random(seed)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._busy = 0
        self._ended = False
        self._local = threading.local()
        for _ in range(THREADS):
            threading.Thread(target=self._work, daemon=True).start()

    def take(self, outage: Outage, *, after: float) -> None:
        self._at(after + self._dice.uniform(0, 1), lambda: self._flush(outage))

    def idle(self) -> bool:
        with self._changed:
            return not self._due and not self._busy

    def stop(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _at(self, seconds: float, work: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), work))
            self._changed.notify_all()

    def _work(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            finally:
                with self._changed:
                    self._busy -= 1

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._ended:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    self._busy += 1
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
        return None

    def _flush(self, outage: Outage) -> None:
        """Send a group as it is now, and again until all of it is known to be over."""
        alerts = tuple(outage.alerts())
        acked = self._deliver(outage, alerts)
        firing = any(each.ends_at is None for each in alerts)
        if firing or not acked:
            self._at(
                self._dice.uniform(0.5, 1.5) * self._repeat if acked else 1.0, lambda: self._flush(outage)
            )
        if acked and firing and self._dice.random() < LATE_SHARE:
            self.ledger.late += 1
            self._at(self._dice.uniform(3, 12), lambda: self._again(outage, alerts))
        if acked and outage.blip and self._dice.random() < LATE_SHARE:
            self.ledger.late += 1
            self._at(self._dice.uniform(0, 3), lambda: self._again(outage, (outage.late_blip(),)))

    def _again(self, outage: Outage, alerts: tuple[Alert, ...]) -> None:
        """A delivery that comes late, once; what it says may long be over."""
        if not self._deliver(outage, alerts):
            self._at(1.0, lambda: self._again(outage, alerts))

    def _deliver(self, outage: Outage, alerts: tuple[Alert, ...]) -> bool:
        """True after a 2xx; False after GIVE_UP seconds without one, and after a 4xx."""
        body = payload(outage, alerts)
        began, pause = time.monotonic(), FIRST_PAUSE
        while time.monotonic() - began < GIVE_UP and not self._ended:
            sent_at = time.time()
            said = self._post(body)
            self.ledger.answers[said] += 1
            if said.startswith("2"):
                digest = sha256(body).hexdigest()
                self.ledger.acked.append(Acked(digest, alerts, sent_at, time.time()))
                return True
            if said.startswith("4"):
                break
            time.sleep(pause * self._dice.uniform(0.5, 1.5))
            pause *= GROWTH
        self.ledger.gave_up += 1
        return False

    def _post(self, body: bytes) -> str:
        """The status, or the kind of error."""
        if not hasattr(self._local, "http"):
            self._local.http = http_session()
        try:
            answer = self._local.http.post(self.url, data=body, headers=self.headers, timeout=TIMEOUT)
        except requests.RequestException as error:
            return type(error).__name__
        return str(answer.status_code)


def payload(outage: Outage, alerts: tuple[Alert, ...]) -> bytes:
    firing = any(each.ends_at is None for each in alerts)
    labels = {"container": outage.container, "host": outage.engine.host}
    whole = {
        "version": "4",
        "groupKey": outage.group_key,
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": "homelab",
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": alerts[0].as_json()["annotations"],
        "externalURL": "http://alertmanager:9093",
        "alerts": [each.as_json() for each in alerts],
    }
    return json.dumps(whole).encode()
