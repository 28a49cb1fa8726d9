"""`make bench`: what the program costs on this machine. Prints tables, writes var/bench.json.

`python -m tests.bench [ingest] [diagnosis]` runs some of it. Timings are no assertions: compare ratios in one
run, with the bare view's row as the yardstick.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.servers import missing
from tests.homelab.program import ROOT

from . import admin, backlog, crew, diagnosis, idle, ingest, memory, scrape, tracing

BENCHMARKS: dict[str, tuple[Callable[[Path], dict[str, Any]], tuple[str, ...]]] = {
    "ingest": (ingest.measure, ()),
    "crew": (crew.measure, ()),
    "diagnosis": (diagnosis.measure, ("prometheus", "docker", "busybox")),
    "backlog": (backlog.measure, ()),
    "idle": (idle.measure, ()),
    "memory": (memory.measure, ()),
    "scrape": (scrape.measure, ()),
    "tracing": (tracing.measure, ()),
    "admin": (admin.measure, ()),
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    results: dict[str, Any] = {"at": datetime.now(UTC).isoformat(), "processors": os.cpu_count()}
    left_out = 0
    for name in names or BENCHMARKS:
        measure, needs = BENCHMARKS[name]
        lacking = [line for each in needs if (line := missing(each))]
        if lacking:
            print(f"\n{name} cannot run here:\n" + "\n".join(lacking), file=sys.stderr)
            left_out += 1
            continue
        results[name] = _measured(name, measure)
    target = ROOT / "var" / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwritten to {target.relative_to(ROOT)}")
    return 1 if left_out else 0


def _measured(name: str, measure: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="homelab-bench-") as directory:
        result = measure(Path(directory))
    print(f"\n{name} (took {time.monotonic() - began:.0f} s)")
    _print_table(result)
    return result


def _print_table(result: dict[str, Any], indent: str = "  ") -> None:
    """Nested results as indented rows, a leaf row's values on one line."""
    for key, value in result.items():
        if isinstance(value, dict) and any(isinstance(each, dict) for each in value.values()):
            flat = all(not isinstance(each, dict) or key == "statuses" for key, each in value.items())
            if not flat:
                print(f"{indent}{key}")
                _print_table(value, indent + "  ")
                continue
        if isinstance(value, dict):
            cells = (f"{name} {cell}" for name, cell in value.items())
            print(f"{indent}{key:<38} " + "  ".join(cells))
        else:
            print(f"{indent}{key:<38} {value}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
