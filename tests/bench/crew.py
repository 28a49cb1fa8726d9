"""What the crew costs beside its model: time, bytes and tokens an incident; the model answers at once.

Monitor, Analyst and Healer read with one tool each, the Communicator tells people, every step is committed.
The model and Prometheus are small servers in this process; the crew runs in another one, without a worker's
pauses. Tokens are bytes / 4, for no tokenizer is that of every model.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.agents.fake_prometheus import NOW, FakePrometheus, serving
from tests.e2e import openai_server as oai
from tests.e2e.postgres import Postgres
from tests.homelab.program import ROOT
from tests.needles import recall

INCIDENTS = 30
EXPRESSION = 'up{job="web"} == 0'
SELECTOR = 'up{job="web"}'
NEEDLES_EACH = 20  # of each kind of log
AGENTS = {"submit_triage": "monitor", "submit_diagnosis": "analyst", "submit_remediation": "healer"}
ONE_EACH = dict.fromkeys(AGENTS.values(), ("tcp_connect",))
# The Analyst reads four, of which two fill what is shown of an output.
LONG = {**ONE_EACH, "analyst": ("tcp_connect", "prometheus_targets", "recall_incidents", "prometheus_rule")}


def measure(directory: Path) -> dict[str, Any]:
    """Four agents on SQLite and PostgreSQL, and how much of a long log's telling lines are shown."""
    with Postgres(directory / "postgres", durable=True) as postgres:
        results = {
            "sqlite, one tool each": _run(directory / "sqlite", "", ONE_EACH),
            "postgresql, one tool each": _run(directory / "pg", postgres.create("crew"), ONE_EACH),
            "sqlite, an analyst with long outputs": _run(directory / "long", "", LONG),
        }
    tried, missed = recall(random.Random(directory.name), NEEDLES_EACH)
    return {**results, "needles in logs of 1 MB": {"tried": tried, "shown": tried - len(missed)}}


def _run(
    directory: Path, database: str, tools: Mapping[str, tuple[str, ...]], **variables: str
) -> dict[str, Any]:
    directory.mkdir()
    with oai.OpenAIServer(lambda request: _answer(request, tools)) as model, _prometheus() as prometheus:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")},
            "DJANGO_SETTINGS_MODULE": "homelab.settings",
            "HOMELAB_DATA_DIR": str(directory),
            "OPENAI_BASE_URL": model.base_url,
            "PROMETHEUS_URL": prometheus.url,
            "STORM_INCIDENTS": "1000",  # so many at once would be left to the playbooks
            **({"DATABASE_URL": database} if database else {}),
            **variables,
        }
        port = model.base_url.split(":")[2].split("/")[0]
        argv = [
            sys.executable,
            "-m",
            "tests.bench.crew_alone",
            str(INCIDENTS),
            f"127.0.0.1:{port}",
            EXPRESSION,
        ]
        done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise RuntimeError(f"the crew ended with code {done.returncode}\n{done.stdout}{done.stderr}")
    took = json.loads(done.stdout.splitlines()[-1])
    seconds, worked = sorted(each for each, _ in took), [each for _, each in took]
    return {
        "p50_ms": round(1000 * statistics.median(seconds)),
        "p95_ms": round(1000 * seconds[int(len(seconds) * 0.95)]),
        "cpu_ms": round(1000 * statistics.median(worked)),
        **_traffic([request.body for request in model.requests]),
    }


def _traffic(bodies: list[bytes]) -> dict[str, Any]:
    """Of an incident, and what share of a call the same agent's call before had already."""
    before: dict[str, str] = {}
    shared = sent = 0
    for body in bodies:
        request = json.loads(body)
        # as servers put a prompt together: the tools, then the conversation
        prompt = json.dumps([request["tools"], request["messages"]], ensure_ascii=False)
        agent = _agent(request)
        if any(message["role"] == "tool" for message in request["messages"]):
            shared += _common(before[agent], prompt)
            sent += len(before[agent])
        before[agent] = prompt
    total = sum(map(len, bodies)) / INCIDENTS
    return {
        "calls": len(bodies) / INCIDENTS,
        "prompt_bytes": round(total),
        "prompt_tokens": round(total / 4),
        "shared": round(shared / sent, 3),
    }


def _common(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _agent(request: Mapping[str, Any]) -> str:
    names = (tool["function"]["name"] for tool in request["tools"])
    return next(AGENTS[name] for name in names if name in AGENTS)


def _answer(request: dict[str, Any], tools: Mapping[str, tuple[str, ...]]) -> Any:
    """The next tool of the agent, then its answer, with a quote of what it read."""
    agent = _agent(request)
    read = [message["content"] for message in request["messages"] if message["role"] == "tool"]
    if len(read) < len(tools[agent]):
        return oai.call_tools(oai.tool_call(tools[agent][len(read)], {}))
    call_id, _, quote = (*read[0].split("\n"), "", "")[:3]
    claim = {"text": "it answers", "call_id": call_id.strip("[]"), "quote": quote}
    cause = {"cause": "its metrics are refused", "certainty": "LIKELY", "claims": [claim]}
    answers: dict[str, tuple[str, dict[str, Any]]] = {
        "monitor": ("submit_triage", {"state": "firing", "affected": ["web"], "summary": "it is down"}),
        "analyst": ("submit_diagnosis", cause),
        "healer": ("submit_remediation", {"action": "none", "reason": "nothing of ours would help"}),
    }
    return oai.call_tools(oai.tool_call(*answers[agent]))


@contextmanager
def _prometheus() -> Iterator[FakePrometheus]:
    """The alert's expression is true, and was before, and there are many targets and rules."""
    labels = {"__name__": "up", "job": "web"}
    target = {
        "labels": {"job": "web", "instance": "web:80"},
        "health": "down",
        "lastError": "connection refused",
        "scrapeUrl": "http://web:80/metrics",
    }
    rule = {
        "name": "Down",
        "query": EXPRESSION,
        "duration": 0,
        "type": "alerting",
        "state": "firing",
        "alerts": [],
    }
    fake = FakePrometheus(
        rows={EXPRESSION: [(labels, 0)], SELECTOR: [(labels, 0)]},
        samples={SELECTOR: [(labels, NOW)]},
        ranges={EXPRESSION: [(labels, [(NOW, "0")])]},
        paths={
            "targets": {"activeTargets": [target] * 200},
            "rules": {"groups": [{"name": "g", "rules": [rule] * 40}]},
            "alerts": {"alerts": []},
        },
    )
    with serving(fake):
        yield fake
