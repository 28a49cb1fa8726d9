"""Takes over the incidents that another program's collection in Qdrant holds."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from incidents.memory.imported import BadPoint, read
from incidents.memory.keep import Given, Kept, keep
from incidents.memory.scroll import Point, Source, SourceError
from incidents.models import MemoryEntry
from incidents.queue import State
from incidents.redaction import clean


class Command(BaseCommand):
    help = (
        "Takes over the incidents of a Qdrant collection that the program before this one filled. They are "
        "remembered as unproven. The running server embeds and indexes them. A second run writes only what "
        "changed since, if --url names the server as before; what was deleted there is kept here."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--url", required=True, metavar="U", help="of the Qdrant server, its REST port")
        parser.add_argument("--collection", default="agent_memory", metavar="NAME")
        parser.add_argument(
            "--key-env",
            metavar="NAME",
            help="environment variable with the server's API key, or NAME_FILE with the path of a file that "
            "holds it; without it QDRANT_API_KEY, unless QDRANT_URL is another server",
        )
        parser.add_argument("--dry-run", action="store_true", help="read and check everything, write nothing")

    def handle(self, **options: Any) -> None:
        url = _server(options["url"])
        source = Source(url, options["collection"], _key(options["key_env"], url))
        kept, bad = Kept(), 0
        try:
            total = source.count()
            for page in source.pages():
                given, refused = self._read(source, page)
                kept += keep(given, dry_run=options["dry_run"])
                bad += refused
                self.stdout.write(f"{kept.new + kept.changed + kept.same + bad} of {total}")
        except SourceError as error:
            raise CommandError(f"{error}.") from error
        self._say(kept, bad, dry_run=options["dry_run"])

    def _read(self, source: Source, page: list[Point]) -> tuple[list[Given], int]:
        """What the points of a page say, and how many cannot be taken over."""
        given = []
        for point, payload in page:
            try:
                given.append(read(source.server, source.collection, point, payload))
            except BadPoint as error:
                self.stderr.write(clean(f"point {point}: {error}"))
        return given, len(page) - len(given)

    def _say(self, kept: Kept, bad: int, *, dry_run: bool) -> None:
        would = "would be " * dry_run
        self.stdout.write(
            f"{kept.new} {would}new, {kept.changed} {would}changed, {kept.same} as they were, {bad} bad"
        )
        waiting = MemoryEntry.queue.filter(kind=MemoryEntry.Kind.IMPORTED).exclude(state=State.DONE).count()
        if waiting and not dry_run:
            self.stdout.write(f"{waiting} wait for the server, which embeds and indexes them while it runs.")
        if bad:
            raise CommandError(f"left out: {bad}, each named above with its reason.")


def _server(url: str) -> str:
    try:
        parts = urlsplit(url)
        readable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0
    except ValueError:  # a port that is no number
        readable = None
    if not readable:
        raise CommandError("--url: wants http://host:port or https://host:port.")
    if parts.username or parts.password:
        raise CommandError("--url: a password there is seen by everybody on this machine; use --key-env.")
    return url.rstrip("/")


def _key(name: str | None, url: str) -> str | None:
    """The key that the named variable holds; without a name our own, which no other server is sent."""
    if name is None:
        return settings.QDRANT_API_KEY if settings.QDRANT_URL in (None, url) else None
    path = os.environ.get(f"{name}_FILE")
    try:
        value = Path(path).read_text().removesuffix("\n") if path else os.environ.get(name)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name}_FILE: {path} cannot be read: {type(error).__name__}.") from error
    if not value:
        raise CommandError(f"--key-env: neither {name} nor {name}_FILE is set.")
    return value
