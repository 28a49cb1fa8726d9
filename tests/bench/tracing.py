"""What tracing costs: processor time of an alert and of an incident, in turns without spans and with them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e import openai_server as oai
from tests.e2e.otlp import Receiver
from tests.e2e.postgres import Postgres
from tests.e2e.valkey import Valkey
from tests.homelab.program import ROOT

from . import crew

ALERT_PAIRS, INCIDENT_PAIRS = 12, 12


def measure(directory: Path) -> dict[str, Any]:
    """Milliseconds off and on, the median of their ratios, and the ratio of the least: other work on the
    machine only adds.
    """
    with Postgres(directory / "postgres") as postgres, Valkey(directory / "valkey") as valkey:
        servers = {
            "DATABASE_URL": postgres.create("alerts"),
            "REDIS_URL": valkey.url,
            "QDRANT_URL": "http://127.0.0.1:1",  # memory is no part of this
        }
        alerts = _pairs(directory / "alerts", servers, "alert", ALERT_PAIRS)
        with (
            oai.OpenAIServer(lambda request: crew._answer(request, crew.ONE_EACH)) as model,
            crew._prometheus() as prometheus,
        ):
            thinking = {
                "DATABASE_URL": postgres.create("incidents"),
                "OPENAI_BASE_URL": model.base_url,
                "PROMETHEUS_URL": prometheus.url,
                "STORM_INCIDENTS": "1000",
            }
            instance = model.base_url.split("/")[2]
            where = (instance, crew.EXPRESSION)
            worked = _pairs(directory / "incidents", thinking, "incident", INCIDENT_PAIRS, *where)
    return {"an alert": alerts, "an incident, with a model": worked}


def _pairs(directory: Path, variables: dict[str, str], *arguments: object) -> dict[str, Any]:
    directory.mkdir(parents=True)
    with Receiver() as receiver:
        environment = {
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "homelab.settings",
            "HOMELAB_ENV_FILE": os.devnull,
            "HOMELAB_DATA_DIR": str(directory),
            "DOCKER_HOST": "off",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            **variables,
        }
        argv = [sys.executable, "-m", "tests.bench.tracing_alone", *map(str, arguments)]
        done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise RuntimeError(f"it ended with code {done.returncode}\n{done.stdout}{done.stderr}")
        assert receiver.spans, "nothing was traced"
    pairs = json.loads(done.stdout.splitlines()[-1])
    off, on = ([pair[which] for pair in pairs] for which in (0, 1))
    return {
        "off_ms": round(1000 * statistics.median(off), 3),
        "on_ms": round(1000 * statistics.median(on), 3),
        "ratio": round(statistics.median(after / before for before, after in pairs), 3),
        "ratio_of_the_least": round(min(on) / min(off), 3),
        "pairs": len(pairs),
    }
