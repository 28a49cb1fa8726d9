"""Deliveries, verdicts, returns and folding, all at once, by threads with connections of their own."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.db import connections

from incidents import intake, services, tally
from incidents.alertmanager import parse_webhook
from incidents.models import Incident, Verdict

BEGAN = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
ENDS = (Verdict.VERIFIED, Verdict.NOT_FIXED, Verdict.CLEARED_BEFORE_ACTION, Verdict.UNKNOWN)


def at_once(*work: Callable[[], None]) -> None:
    """Each in a thread of its own; the first error is raised."""
    errors: list[BaseException] = []

    def run(each: Callable[[], None]) -> None:
        try:
            each()
        except BaseException as error:  # noqa: BLE001 it is raised below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def commotion(seed: int, deliveries: int = 25) -> None:
    """Two senders deliver alerts of a few groups that grow graver, end and return; people and the crew close
    what is open; two processes fold."""
    done = threading.Event()

    def send(number: int) -> Callable[[], None]:
        dice = random.Random(seed * 10 + number)

        def work() -> None:
            for moment in range(deliveries):
                body = delivery(dice, moment)
                intake.receive(source=f"am{number}", body=body, webhook=parse_webhook(body))

        return work

    def close() -> None:
        dice = random.Random(seed)
        while not done.is_set():
            for incident in Incident.objects.unresolved().order_by("?")[:1]:
                services.close(incident, dice.choice(ENDS), actor="crew", note="as the dice fell")
            for incident in Incident.objects.closed().order_by("?")[:1]:
                if dice.random() < 0.2:
                    services.annotate(incident, by="ann", verdict=Verdict.FALSE_ALARM)

    def fold() -> None:
        while not done.is_set():
            tally.fold(1)

    def send_all() -> None:
        try:
            at_once(send(1), send(2))
        finally:
            done.set()

    at_once(send_all, close, fold, fold)


def delivery(dice: random.Random, moment: int) -> bytes:
    alerts = [
        {
            "status": dice.choice(("firing", "firing", "resolved")),
            "labels": {
                "alertname": f"Alert{dice.randrange(6)}",
                "severity": dice.choice(("warning", "critical", "info")),
                "instance": f"host{dice.randrange(3)}",
            },
            "startsAt": (BEGAN + timedelta(seconds=moment)).isoformat(),
            "endsAt": (BEGAN + timedelta(seconds=moment + 1)).isoformat(),
            "fingerprint": f"{dice.randrange(8):016x}",
        }
        for _ in range(dice.randrange(1, 4))
    ]
    return json.dumps({"version": "4", "groupKey": f"g{dice.randrange(3)}", "alerts": alerts}).encode()
