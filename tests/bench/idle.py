"""What `make run` costs while nothing happens: the start, the processor and the memory of its processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.homelab.program import Program

from .processes import cpu_seconds, memory_mb

SETTLES_SECONDS = 10.0  # what the start still does in the background
WATCHED_SECONDS = 30.0


def measure(directory: Path) -> dict[str, Any]:
    """A start on an empty data directory and one on what it left, then half a minute of nothing."""
    program = Program(directory)
    first = _start(program)
    program.stop()
    again = _start(program)
    try:
        time.sleep(SETTLES_SECONDS)
        before = cpu_seconds([program.arbiter])
        time.sleep(WATCHED_SECONDS)
        spent = cpu_seconds([program.arbiter]) - before
        memory = memory_mb([program.arbiter])
    finally:
        program.kill()
        program.http.close()
    return {
        "first_start_to_healthy_seconds": first,
        "next_start_to_healthy_seconds": again,
        "processor_percent_of_a_core": round(100 * spent / WATCHED_SECONDS, 2),
        **memory,
    }


def _start(program: Program) -> float:
    """Seconds from nothing to a healthy answer."""
    began = time.monotonic()
    program.start()
    return round(time.monotonic() - began, 2)
