"""The first admin and the first tokens. Made once, kept in a file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TypedDict, cast

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from homelab import listen
from incidents import connect
from incidents.access import create_token
from incidents.models import Role, Token

FILE = connect.FIRST_RUN_FILE


class Admin(TypedDict):
    username: str
    password: str


class FirstRun(TypedDict):
    """What `first-run.json` holds."""

    url: str
    admin: Admin
    tokens: dict[str, str]


def make(data_dir: Path) -> bool:
    """True when they were made now; with a user or a token in the database nothing is made.

    The file is written before the commit: rows without it would be of no use to anybody, while a file
    without rows is written again at the next start.
    """
    users = get_user_model().objects
    if users.exists() or Token.objects.exists():
        return False
    with transaction.atomic():
        password = secrets.token_urlsafe(12)
        users.create_superuser("admin", password=password)
        tokens = {role.value: create_token(name=role.value, role=role, by="first run")[1] for role in Role}
        url = settings.PUBLIC_URL or listen.local_url()
        write(data_dir, {"url": url, "admin": {"username": "admin", "password": password}, "tokens": tokens})
    return True


def write(data_dir: Path, content: FirstRun) -> None:
    """Whole or not at all, and at no moment readable by others."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = data_dir / f"{FILE}.draft"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(content, stream, indent=2)
        stream.write("\n")
    draft.replace(data_dir / FILE)


def read(data_dir: Path) -> FirstRun | None:
    """The file, while it is there: deleting it is what careful people do."""
    try:
        return cast(FirstRun, json.loads((data_dir / FILE).read_text()))
    except FileNotFoundError:
        return None
