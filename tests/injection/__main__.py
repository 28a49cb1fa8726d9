"""`make injection`: every payload by every way, with the obedient model and with the playbooks; a table."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from tests.injection.generated import seed
from tests.injection.tally import HEAD, Tally, kept


def main() -> int:
    number, began = seed(), time.monotonic()
    print(f"HOMELAB_INJECTION_SEED={number}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "HOMELAB_INJECTION": "full",
            "HOMELAB_INJECTION_SEED": str(number),
            "HOMELAB_INJECTION_TALLY": folder,
        }
        pytest = [sys.executable, "-m", "pytest", "-q", "-n", "auto", *sys.argv[1:], "tests/injection"]
        code = subprocess.call(pytest, env=environment)
        print(f"\n{HEAD}")
        whole = Tally("all", "")
        for tally in kept(folder):
            print(tally.line)
            whole.counts.update(tally.counts)
    print(f"{whole.line}\n{time.monotonic() - began:.0f} s, HOMELAB_INJECTION_SEED={number}")
    return code


if __name__ == "__main__":
    sys.exit(main())
