"""The crew's part of the benchmark, in a process of its own: works incidents one by one.

Prints what each took: seconds, and how many of them were on a processor.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

import django

django.setup()

from django.conf import settings  # noqa: E402 what follows needs Django to be ready
from django.core.management import call_command  # noqa: E402

from agents import advance, services  # noqa: E402
from agents.models import Step  # noqa: E402
from homelab import tracing  # noqa: E402
from incidents import intake  # noqa: E402
from incidents.alertmanager import parse_webhook  # noqa: E402

WARM_UP = 3


def main(count: int, instance: str, expression: str) -> None:
    call_command("migrate", verbosity=0)
    tracing.begin()
    took = [_work(number, instance, expression) for number in range(count)]
    print(json.dumps(took[WARM_UP:]))


def _work(number: int, instance: str, expression: str) -> tuple[float, float]:
    """From the accepted alert until the Communicator has told people, as a worker goes through it."""
    labels = {"alertname": f"Down{number}", "severity": "warning", "job": "web", "instance": instance}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "web does not answer", "run": f"{number}"},
        "startsAt": datetime.now(UTC).isoformat(),
        "generatorURL": f"{settings.PROMETHEUS_URL}/graph?g0.expr={quote(expression)}",
    }
    body = json.dumps({"version": "4", "groupKey": f"g{number}", "alerts": [alert]}).encode()
    [incident] = intake.receive(source="alertmanager", body=body, webhook=parse_webhook(body)).incidents
    steps = Step.objects.filter(run__incident=incident)
    wall, cpu = _timed(lambda: services.start_run(incident))
    while not steps.filter(agent=Step.Agent.COMMUNICATOR, state="done").exists():
        if wall > 60:
            raise TimeoutError(f"incident {incident} is not worked")
        # More than one turn of a worker only where the machine is so slow that its time was over.
        due = steps.exclude(agent=Step.Agent.PROOF).get(state="waiting").pk
        took = _timed(lambda due=due: advance.advance(due))
        wall, cpu = wall + took[0], cpu + took[1]
    return wall, cpu


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    began, worked = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - worked


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
