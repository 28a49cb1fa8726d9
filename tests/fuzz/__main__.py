"""`make fuzz`: every request there is, against PostgreSQL, which refuses more than SQLite does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from tests.e2e.postgres import Postgres


def main() -> int:
    with tempfile.TemporaryDirectory() as directory, Postgres(directory) as server:
        environment = {**os.environ, "HOMELAB_FUZZ": "full", "DATABASE_URL": server.url}
        return subprocess.call([sys.executable, "-m", "pytest", "-q", "-s", "tests/fuzz"], env=environment)


if __name__ == "__main__":
    sys.exit(main())
