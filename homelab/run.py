"""`python -m homelab.run`, which `make run` calls: prepare everything, then become the web server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError

from homelab import alone, dotenv, listen

BASE_DIR = Path(__file__).resolve().parent.parent
# glibc would give each thread an arena of its own, and keep what loading the embedding model freed: 60 MB.
MALLOC = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "131072"}
SERVER = (sys.executable, "-m", "gunicorn", "-c", "python:homelab.gunicorn")


def main() -> None:
    # gunicorn reads `.env` itself: given what was read here, a variable emptied on the command line would
    # come back from the file.
    environment = dict(os.environ)
    try:
        dotenv.read(BASE_DIR)
        listen.check_free()
        prepare()
    except (ImproperlyConfigured, PermissionError) as error:
        sys.exit(f"homelab cannot start. {error}")
    except OperationalError as error:
        sys.exit(f"homelab cannot start. DATABASE_URL: {str(error).strip().splitlines()[0]}")
    environment = {**MALLOC, "DJANGO_SETTINGS_MODULE": "homelab.settings", **environment}
    sys.stdout.flush()
    os.execve(SERVER[0], SERVER, environment)  # noqa: S606 our own interpreter, no shell


def prepare() -> None:
    """Tables, first user and tokens, and a word on what is set up."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homelab.settings")
    listen.processes(embedded=settings.EMBEDDED)
    if settings.EMBEDDED:
        alone.check(settings.DATA_DIR)
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    call_command("prepare")


if __name__ == "__main__":
    main()
