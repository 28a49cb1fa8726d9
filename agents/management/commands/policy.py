"""`policy TARGET`: what homelab may do to a target now, and why not more."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents import foresight
from agents.kinds import ActionKind
from incidents.models import Target


class Command(BaseCommand):
    help = (
        "What authorize() would say now of each kind of change of a target, and why. Its engine is asked for "
        "its state; nothing is done. Without an incident, what one tells is assumed, and said."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("target", metavar="TARGET", help="its key in the inventory, docker:host/name")
        parser.add_argument("--action", choices=ActionKind.values, metavar="KIND", help="this kind alone")
        parser.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, **options: Any) -> None:
        target = _target(options["target"])
        kinds = [ActionKind(options["action"])] if options["action"] else list(ActionKind)
        found = foresight.answers(target, kinds)
        if options["json"]:
            whole = {"target": target.key, "answers": [each.as_json() for each in found]}
            self.stdout.write(json.dumps(whole, indent=2))
            return
        for each in found:
            self.stdout.write(f"{each.kind.value} {target.key}: {each.text}")
            if each.depends_on:
                self.stdout.write(f"  it depends on the incident: {'; '.join(each.depends_on)}")


def _target(key: str) -> Target:
    found = Target.objects.filter(key=key).first()
    if found is None:
        near = ", ".join(foresight.candidates(key))
        hint = f"; did you mean {near}?" if near else "; the inventory has nothing like it"
        raise CommandError(f"{key!r} is not in the inventory{hint}")
    return found
