"""Requests that nobody would write by hand. A slice runs with every test, all of them with `make fuzz`."""

import os

FULL = os.environ.get("HOMELAB_FUZZ") == "full"
