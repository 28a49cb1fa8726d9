"""What processes cost, from /proc: processor time and memory of a process and all its descendants."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
GONE = (FileNotFoundError, ProcessLookupError)


def tree(pid: int) -> Iterator[int]:
    """A process and what descends from it."""
    yield pid
    with suppress(*GONE):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in task.joinpath("children").read_text().split():
                yield from tree(int(child))


def cpu_seconds(roots: Iterable[int]) -> float:
    """Processor time of process trees so far, with that of children which have ended."""
    return sum(_ticks(pid) for root in roots for pid in tree(root)) / TICKS


def _ticks(pid: int) -> int:
    with suppress(*GONE):
        # after the name in parentheses, which may itself hold spaces: utime, stime, cutime, cstime
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15]))
    return 0


def memory_mb(roots: Iterable[int]) -> dict[str, float]:
    """RSS counts a shared page in each process, PSS once for all of them."""
    found = {"Rss": 0, "Pss": 0}
    for pid in (pid for root in roots for pid in tree(root)):
        with suppress(*GONE):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in found:
                    found[name] += int(rest.split()[0])
    return {f"{name.lower()}_mb": round(kilobytes / 1024, 1) for name, kilobytes in found.items()}
