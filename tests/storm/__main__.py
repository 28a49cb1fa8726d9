"""`make storm`: thousands of alerts while everything is killed a hundred times, in both modes.

`python -m tests.storm [--short] [--mode production|embedded] [--seed N] [--keep DIRECTORY]`. Exit status 1
when a promise is broken. About a quarter of an hour a mode; `--short`: about a minute.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from . import plan, report, storm


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and end what was started
    failed = False
    for mode in [options.mode] if options.mode else plan.MODES:
        size = plan.SHORT if options.short else plan.FULL
        with ExitStack() as stack:
            directory = options.keep / mode if options.keep else _temporary(stack)
            directory.mkdir(parents=True, exist_ok=True)
            result = storm.run(mode, size, directory, seed=options.seed, say=_say)
        _say("\n".join(report.lines(result)))
        broken = [*report.broken(result), *([] if options.short else report.fell_short(result))]
        _say("\n".join(f"  BROKEN {line}" for line in broken) or "  every promise held")
        failed = failed or bool(broken)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.storm")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--mode", choices=plan.MODES)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--keep", type=Path, help="a directory for logs, the engines' calls and the database")
    return parser.parse_args()


def _temporary(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="homelab-storm-")))


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
