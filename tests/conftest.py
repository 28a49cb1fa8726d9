"""What tests of every app share. No test reaches anything but this machine's loopback."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from agents import advance
from incidents.access import create_token
from incidents.models import Role
from tests import network_guard

GOLDEN = Path(__file__).parent / "data" / "alertmanager"
network_guard.install()


@pytest.fixture(autouse=True)
def _a_step_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker goes on with what follows a step: in most tests nothing is committed, so nothing follows."""
    monkeypatch.setattr(advance, "SHIFT_SECONDS", 0.0)


@dataclass(frozen=True)
class Api:
    """A client that speaks JSON with one token, or with none."""

    client: Client
    secret: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers={**self.headers, **headers})

    def post(self, path: str, data: Any = None, **headers: str) -> Any:
        """`data` as JSON; bytes and strings as they are."""
        body = data if isinstance(data, bytes | str) else json.dumps(data) if data is not None else ""
        return self.client.post(
            path, body, content_type="application/json", headers={**self.headers, **headers}
        )


@pytest.fixture
def api(db: None) -> Callable[[str | None], Api]:
    """`api("viewer")`: a client with a token of that role; `api(None)`: one without."""

    def make(role: str | None) -> Api:
        if role is None:
            return Api(Client())
        return Api(Client(), create_token(name=role, role=Role(role))[1])

    return make


@pytest.fixture
def ingest(api: Callable[[str | None], Api]) -> Api:
    return api("ingest")


@pytest.fixture
def viewer(api: Callable[[str | None], Api]) -> Api:
    return api("viewer")


@pytest.fixture
def operator(api: Callable[[str | None], Api]) -> Api:
    return api("operator")


@pytest.fixture
def admin(api: Callable[[str | None], Api]) -> Api:
    return api("admin")


@pytest.fixture
def person(db: None) -> Callable[..., Client]:
    """`person(staff=True)`: the browser of somebody who is logged in."""

    def make(*, staff: bool = False, superuser: bool = False, name: str = "robin") -> Client:
        user = get_user_model().objects.create_user(
            name, password="only for tests", is_staff=staff or superuser, is_superuser=superuser
        )
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def root(person: Callable[..., Client]) -> Client:
    """The browser of an admin."""
    return person(superuser=True)


@pytest.fixture
def golden() -> Callable[[str], bytes]:
    """A payload that a real Alertmanager sent, byte for byte."""
    return lambda name: (GOLDEN / f"{name}.json").read_bytes()
