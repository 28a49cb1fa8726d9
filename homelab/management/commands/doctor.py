"""`doctor`: a line for everything this program talks to. Exit code 1 if something configured fails."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from homelab import doctor

WORD = {True: "ok", False: "FAILS", None: "-"}


class Command(BaseCommand):
    help = "Ask everything this program talks to, and say what is missing."

    def handle(self, **options: Any) -> None:
        failed = []
        for name, health in doctor.examine():
            version = f" (version {health.version})" if health.version else ""
            self.stdout.write(f"{WORD[health.ok]:5}  {name:14} {health.detail}{version}")
            if health.ok is False:
                failed.append(name)
        if failed:
            raise CommandError(f"configured, but failing: {', '.join(failed)}")
