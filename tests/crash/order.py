"""What a process of these tests is told to do."""

from __future__ import annotations

from dataclasses import dataclass

FOUND = "found"


@dataclass(frozen=True)
class Order:
    """Live `life` in `directory`; without a life, make the directory's database.

    `crash`: the value of HOMELAB_CRASH_AT. Without it, what there is at the end is written to FOUND.
    """

    directory: str
    life: str = ""
    docker: str = ""
    world: str = ""
    crash: str | None = None
