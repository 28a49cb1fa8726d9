"""What recall costs at 10,000 entries, how fast texts are embedded, and how well recall finds what it should.

The last is measured with `evaluate_memory` on sets of documents and queries that are not ours to ship: pairs
of `NAME.documents.jsonl` and `NAME.queries.jsonl` in the folder that RETRIEVAL_SETS names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.homelab.program import ROOT

ENTRIES = 10_000
BESIDE = ROOT.parent / "shared" / "data" / "retrieval"
DOCUMENTS, QUERIES = ".documents.jsonl", ".queries.jsonl"


def measure(directory: Path) -> dict[str, Any]:
    """Speed and size in a process of its own, as production has it; then the quality of each set."""
    cost = _run(directory, "-m", "tests.bench.memory_alone", str(ENTRIES))
    return {**cost, **_quality(directory)}


def _quality(directory: Path) -> dict[str, Any]:
    folder = Path(os.environ.get("RETRIEVAL_SETS") or BESIDE)
    names = sorted(path.name.removesuffix(DOCUMENTS) for path in folder.glob(f"*{DOCUMENTS}"))
    if not names:
        return {"quality": "not measured: no sets here, name their folder in RETRIEVAL_SETS"}
    return {
        name: _run(
            directory,
            *("manage.py", "evaluate_memory"),
            *("--documents", str(folder / f"{name}{DOCUMENTS}")),
            *("--queries", str(folder / f"{name}{QUERIES}")),
        )
        for name in names
    }


def _run(directory: Path, *arguments: str) -> dict[str, Any]:
    """The JSON of the last line."""
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "homelab.settings",
        "HOMELAB_ENV_FILE": os.devnull,
        "HOMELAB_DATA_DIR": str(directory),
        "DOCKER_HOST": "off",
    }
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        raise RuntimeError(f"{arguments} ended with code {done.returncode}\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
