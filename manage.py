#!/usr/bin/env python3
"""Django's command line for this project. Started by another Python, it goes on in the one `make` set up."""

import importlib.util
import os
import sys
from pathlib import Path

OURS = Path(__file__).resolve().parent / ".venv" / "bin" / "python"
if importlib.util.find_spec("django") is None:
    if not OURS.exists():
        sys.exit("manage.py: Django is not installed; `make run` sets everything up")
    os.execv(OURS, [str(OURS), *sys.argv])  # noqa: S606 our own interpreter, no shell

from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.core.management import execute_from_command_line  # noqa: E402

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homelab.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")
