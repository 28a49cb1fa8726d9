"""Tracing's part of the benchmark, in a process of its own: with and without spans, in turns of a few.

For each pair of turns, the processor seconds of one alert (or incident) without spans and with them. To
send the spans is part of the latter, so a turn is as long as a busy server's batch.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import django

django.setup()

from django.conf import settings  # noqa: E402 what follows needs Django to be ready
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from opentelemetry.trace import NoOpTracer  # noqa: E402

from homelab import middleware  # noqa: E402
from homelab import tracing as sdk  # noqa: E402
from incidents import tracing  # noqa: E402
from incidents.access import create_token  # noqa: E402
from incidents.models import Role  # noqa: E402

from . import crew_alone, ingest  # noqa: E402

ALERTS_A_TURN, INCIDENTS_A_TURN = 512, 34  # the spans of one batch, as busy servers send them
WARM_UP = 1
Turn = Callable[[bool], int]


def main(what: str, pairs: int, *where: str) -> None:
    call_command("migrate", verbosity=0)
    sdk.begin()
    turn = alerts(2 * (pairs + WARM_UP)) if what == "alert" else incidents(*where)
    spans, nothing = tracing.tracer, NoOpTracer()
    found = []
    for pair in range(pairs + WARM_UP):
        spent = {}
        for traced in (False, True) if pair % 2 else (True, False):
            tracing.tracer = spans if traced else nothing
            began = time.process_time()
            count = turn(traced)
            if traced:
                sdk._provider.force_flush()
            spent[traced] = (time.process_time() - began) / count
        found.append((spent[False], spent[True]))
    print(json.dumps(found[WARM_UP:]))  # the first ones fill caches


def alerts(turns: int) -> Turn:
    """Requests to /alert, each with an alert that is new."""
    token = create_token(name="bench", role=Role.INGEST)[1]
    plain, endpoint = RequestFactory(), settings.OTEL_EXPORTER_OTLP_ENDPOINT
    receive = {}
    for traced in (True, False):
        settings.OTEL_EXPORTER_OTLP_ENDPOINT = endpoint if traced else None
        receive[traced] = middleware.identified(middleware.alerts_first(lambda request: None))  # type: ignore[arg-type, return-value]

    def request() -> HttpRequest:
        body = ingest._body([ingest._alert(f"t{next(ingest._numbers)}")])
        authorization = {"Authorization": f"Bearer {token}"}
        return plain.post("/alert", body, content_type="application/json", headers=authorization)

    waiting = [request() for _ in range(ALERTS_A_TURN * turns)]

    def turn(traced: bool) -> int:
        for _ in range(ALERTS_A_TURN):
            assert receive[traced](waiting.pop()).status_code == 200
        return ALERTS_A_TURN

    return turn


def incidents(instance: str, expression: str) -> Turn:
    """The crew's work on an incident, with a model that answers at once."""

    def turn(traced: bool) -> int:
        for _ in range(INCIDENTS_A_TURN):
            with tracing.span("POST /alert"):
                crew_alone._work(next(ingest._numbers), instance, expression)
        return INCIDENTS_A_TURN

    return turn


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
