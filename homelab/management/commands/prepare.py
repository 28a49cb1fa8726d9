"""`prepare`: the first user and tokens, the rows of recurring jobs, and a word on what is set up."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from homelab import banner, firstrun
from incidents import jobs


class Command(BaseCommand):
    help = "Make the first admin and tokens if there are none yet, and say how to send alerts here."

    def handle(self, **options: Any) -> None:
        made = firstrun.make(settings.DATA_DIR)
        jobs.ensure()
        secrets = firstrun.read(settings.DATA_DIR) if sys.stdout.isatty() else None
        self.stdout.write(banner.text(made=made, secrets=secrets))
