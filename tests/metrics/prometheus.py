"""What the tests of rules and dashboards share: the files, promtool, and the metrics that a query names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.e2e.process import binary
from tests.e2e.require import require

ROOT = Path(__file__).parents[2] / "metrics"
PROMETHEUS, GRAFANA = ROOT / "prometheus", ROOT / "grafana"
METRIC = re.compile(r"(?<![\w:])(?:ai_agents|django)_\w+")


def promtool(*arguments: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run it; it comes with Prometheus."""
    require("prometheus")
    command = [binary("promtool"), *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def metrics_in(expression: str) -> set[str]:
    """The families of ours and Django's that a query reads."""
    return {re.sub("_(bucket|sum|count)$", "", name) for name in METRIC.findall(expression)}


def families_in(text: str) -> set[str]:
    """The families that a text of /metrics declares, whether or not they have a series yet."""
    return set(re.findall(r"^# TYPE (\S+)", text, re.M))
