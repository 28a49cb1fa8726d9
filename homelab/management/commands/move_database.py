"""`move_database --to URL`: from SQLite to PostgreSQL, or back, while the server is stopped."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from homelab import alone, moving
from homelab.env import ConfigError

LINE = "{:36} {:>9} {:>9}  {:16} {}"


class Command(BaseCommand):
    help = "Copy every record to an empty database, compare both, and say what to put into .env."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--to", required=True, metavar="URL", help="postgres://user:password@host/name or sqlite:///path"
        )

    def handle(self, *, to: str, **options: Any) -> None:
        # Held until this process ends: no server starts on what is being left.
        if not alone.take(settings.DATA_DIR):
            raise CommandError(f"homelab runs on {settings.DATA_DIR}: stop it first")
        self.stdout.write("Copying ...")
        try:
            compared = moving.move(to)
        except moving.Different as error:
            self._show(error.tables)
            raise CommandError(f"{error}. Nothing was kept.") from error
        except (moving.CannotMove, ConfigError) as error:
            raise CommandError(f"{error}. Nothing was moved.") from None
        self._show(compared)
        self.stdout.write(f"\nEverything is there. Put this into .env, then start:\n\n{self._line(to)}")

    def _show(self, tables: list[moving.Comparison]) -> None:
        self.stdout.write(LINE.format("TABLE", "HERE", "THERE", "HASH", ""))
        for each in sorted(tables, key=lambda each: each.table):
            counts = each.source.rows, each.target.rows
            word = "same" if each.same else "DIFFERENT"
            self.stdout.write(LINE.format(each.table, *counts, each.target.digest[:16], word))

    def _line(self, url: str) -> str:
        shown = without_password(url)
        note = "" if shown == url else "    # your password in place of ***"
        return f"DATABASE_URL={shown}{note}"


def without_password(url: str) -> str:
    """A valid URL as it may be shown."""
    shown = re.sub(r"^([^:/]+://[^:/@]*):[^/]*@", r"\1:***@", url)
    return re.sub(r"(password=)[^&]*", r"\1***", shown)
