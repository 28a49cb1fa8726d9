"""The command line of the demo."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import cast

import django
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

TOKENS = "HOMELAB_TOKEN_INGEST and HOMELAB_TOKEN_OPERATOR, or HOMELAB_TOKEN_ADMIN"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m homelab.demo",
        description="Beside a running homelab: breaks something of its own and tells what the crew does.",
    )
    parser.add_argument("--url", help="where homelab runs; default: the address in var/first-run.json")
    parser.add_argument("--token", help=f"a token of role admin; or the environment: {TOKENS}")
    parser.add_argument("--yes", action="store_true", help="approve what the crew proposes without asking")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = options(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homelab.settings")
    try:
        django.setup()
    except ImproperlyConfigured as error:
        sys.exit(f"The demo cannot start. {error}")
    # By name, because what it imports is not importable before Django is ready.
    play = cast(Callable[..., int], import_string("homelab.demo.play.play"))
    return play(url=chosen.url, token=chosen.token, yes=chosen.yes)


if __name__ == "__main__":
    sys.exit(main())
