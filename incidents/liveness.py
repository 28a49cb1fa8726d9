"""What must be alive in this process besides the web server, asked by `/health`.

A part that runs in a thread of its own (the embedded worker, beat) registers how to ask whether it lives.
"""

from __future__ import annotations

from collections.abc import Callable

_CHECKS: dict[str, Callable[[], bool]] = {}


def register(name: str, check: Callable[[], bool]) -> None:
    """`check` answers at once, without I/O, whether the part `name` is alive; the last one given counts."""
    _CHECKS[name] = check


def dead() -> list[str]:
    """Names of the parts that should be alive and are not."""
    return sorted(name for name, check in _CHECKS.items() if not check())
