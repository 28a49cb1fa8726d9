"""`tokens create NAME --role ROLE`, `tokens list`, `tokens revoke NAME`."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from incidents.access import create_token, revoke_token
from incidents.models import Role, Token

SENDERS = (Role.INGEST, Role.ADMIN)  # who may send alerts, which are told apart by their source


class Command(BaseCommand):
    help = "Make, list and revoke API tokens. A token is shown once, when it is made."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a token and show it")
        create.add_argument("name")
        create.add_argument("--role", required=True, choices=Role.values)
        create.add_argument(
            "--source",
            default="alertmanager",
            help="names the sender of its alerts; two of a highly available pair share one",
        )
        actions.add_parser("list", help="all tokens, never their secrets")
        revoke = actions.add_parser("revoke", help="make a token useless for good")
        revoke.add_argument("name")

    def handle(self, *, action: str, **options: Any) -> None:
        if action == "create":
            self._create(options["name"], options["role"], options["source"])
        elif action == "revoke":
            self._revoke(options["name"])
        else:
            self._list()

    def _create(self, name: str, role: str, source: str) -> None:
        try:
            _, secret = create_token(name=name, role=role, source=source, by=_who())
        except ValueError as error:
            raise CommandError(str(error)) from error
        except IntegrityError as error:
            raise CommandError(f"there is a token called {name} already, maybe a revoked one") from error
        self.stdout.write(secret)
        self.stderr.write(f"This is {name}'s token. It is shown only now: keep it.")

    def _revoke(self, name: str) -> None:
        token = Token.objects.filter(name=name).first()
        if token is None or not revoke_token(token, by=_who()):
            raise CommandError(f"no live token is called {name}; see: tokens list")
        self.stdout.write(f"{name} is revoked")

    def _list(self) -> None:
        row = "{:24} {:9} {:20} {:17} {}"
        self.stdout.write(row.format("NAME", "ROLE", "SOURCE", "MADE (UTC)", "REVOKED (UTC)"))
        for token in Token.objects.order_by("name"):
            made, revoked = (
                f"{moment:%Y-%m-%d %H:%M}" if moment else ""
                for moment in (token.created_at, token.revoked_at)
            )
            source = token.source if token.role in SENDERS else ""
            self.stdout.write(row.format(token.name, token.role, source, made, revoked).rstrip())


def _who() -> str:
    """Whose hand: the account on this machine, for the audit."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):  # a container's user need not have a name
        return "command line"
