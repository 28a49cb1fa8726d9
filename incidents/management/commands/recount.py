"""Compares the totals with the tables, and corrects what is not as they say."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from incidents.recount import Busy, recount


class Command(BaseCommand):
    help = (
        "Compares the totals of incidents by severity and verdict, of what was proved and of the memory with "
        "the tables, and corrects them. For after an upgrade in which processes of the old and of the new "
        "release worked side by side. It may run while all others work."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="correct nothing; fail if anything is wrong")

    def handle(self, *, check: bool, **options: Any) -> None:
        try:
            wrong = recount(repair=not check)
        except Busy as error:
            raise CommandError("another recount is under way") from error
        for series, (counted, there) in wrong.items():
            self.stdout.write(f"{' '.join(series)}: counted {counted}, there are {there}")
        if check and wrong:
            raise CommandError("The totals are not what the tables say.")
        self.stdout.write("Corrected." if wrong else "The totals are what the tables say.")
