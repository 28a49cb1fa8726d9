"""The server as the demo sees it: from outside, over HTTP, with tokens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
from django.conf import settings

from homelab import firstrun, listen
from incidents.models import Role

Json = dict[str, Any]
TIMEOUT = 15  # seconds
MAKE_ONE = "python manage.py tokens create demo --role admin"
# What the demo says of its own incidents when it ends them itself: they are no part of the owner's numbers.
BY_HAND = "false_alarm"


class DemoError(Exception):
    """Why the demo cannot go on, in one line for a person."""


class Gone(DemoError):
    """410: the question was answered before, or its time is over."""


class Server:
    """A running homelab."""

    def __init__(self, url: str, tokens: Mapping[str, str]) -> None:
        self.url = url
        self.tokens = tokens
        self.http = requests.Session()
        # Our own network: a proxy or .netrc of the environment is not for it.
        self.http.trust_env = False
        self.http.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True

    def health(self) -> Json:
        """DemoError unless a homelab answers."""
        try:
            answer = self.http.get(f"{self.url}/health", timeout=TIMEOUT)
            body = answer.json()
        except requests.ConnectionError as error:
            raise DemoError(f"No homelab runs at {self.url}: start it with `make run`.") from error
        except (requests.RequestException, ValueError) as error:
            raise DemoError(f"What answers at {self.url} is no homelab; name another with --url.") from error
        if not isinstance(body, dict) or body.get("service") != settings.SERVICE_NAME:
            raise DemoError(f"What answers at {self.url} is no homelab; name another with --url.")
        return body

    def check_tokens(self) -> None:
        """DemoError when one is refused, found out before anything is broken: by requests that do nothing."""
        for role, path in ((Role.INGEST, "/alert"), (Role.OPERATOR, "/api/v1/actions/0/approve")):
            self._raise_if_refused(self._send("POST", path, self._header(role), {}), role)

    def send_alert(self, body: Json) -> list[int]:
        """The incidents that a webhook delivery touched."""
        incidents: list[int] = self._request("POST", "/alert", Role.INGEST, body)["incidents"]
        return incidents

    def newest_incidents(self) -> list[Json]:
        found: list[Json] = self._request("GET", "/api/v1/incidents?limit=20")["results"]
        return found

    def incident(self, pk: int) -> Json:
        return self._request("GET", f"/api/v1/incidents/{pk}")

    def runs(self, pk: int) -> list[Json]:
        """The investigations of an incident, the newest first."""
        found: list[Json] = self._request("GET", f"/api/v1/incidents/{pk}/runs")["results"]
        return found

    def action(self, pk: int) -> Json:
        return self._request("GET", f"/api/v1/actions/{pk}")

    def approve(self, action: int) -> None:
        self._request("POST", f"/api/v1/actions/{action}/approve")

    def reject(self, action: int, reason: str) -> None:
        self._request("POST", f"/api/v1/actions/{action}/reject", body={"reason": reason})

    def close_by_hand(self, incident: int, note: str) -> None:
        body = {"verdict": BY_HAND, "note": note}
        self._request("POST", f"/api/v1/incidents/{incident}/annotate", body=body)

    def check_health(self) -> None:
        """Have the server look around now, which includes a poll of Alertmanager."""
        self._request("POST", "/trigger-health-check")

    def metrics(self) -> str:
        """The text of /metrics; empty when it may not be read."""
        token = settings.METRICS_TOKEN
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self._send("GET", "/metrics", headers)
        return answer.text if answer.ok else ""

    def page(self, incident: int) -> str:
        return f"{self.url}/incidents/{incident}"

    def _request(self, method: str, path: str, role: Role = Role.OPERATOR, body: Json | None = None) -> Json:
        answer = self._send(method, path, self._header(role), body)
        self._raise_if_refused(answer, role)
        if answer.status_code == HTTPStatus.GONE:
            raise Gone(_detail(answer))
        if not answer.ok:
            raise DemoError(f"{self.url}{path} answered {answer.status_code}: {_detail(answer)}")
        found: Json = answer.json()
        return found

    def _header(self, role: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    def _raise_if_refused(self, answer: requests.Response, role: Role) -> None:
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise DemoError(
                f"{self.url} refuses the {role} token ({answer.status_code}): give one with --token, "
                f"made by `{MAKE_ONE}`."
            )

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: Json | None = None
    ) -> requests.Response:
        try:
            return self.http.request(method, self.url + path, headers=headers, json=body, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise DemoError(f"The server at {self.url} went away: {type(error).__name__}.") from error


def connect(*, url: str | None, token: str | None, data_dir: Path) -> Server:
    """The server that answers, with tokens for it; DemoError says what is missing."""
    first = firstrun.read(data_dir)
    # The port may have changed since the first run; then the settings know better.
    places = [url] if url else [*([first["url"]] if first else []), listen.local_url()]
    problems: list[DemoError] = []
    for place in dict.fromkeys(each.rstrip("/") for each in places):
        server = Server(place, {})
        try:
            server.health()
        except DemoError as error:
            problems.append(error)
            continue
        server.tokens = tokens(token, first["tokens"] if first else {}, data_dir)
        server.check_tokens()
        return server
    raise problems[-1]


def tokens(given: str | None, of_first_run: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    """A token for each role the demo plays: as given, else of the environment, else of the first run."""
    found = {}
    for role in (Role.INGEST, Role.OPERATOR):
        secret = given or _from_environment(role) or _from_environment(Role.ADMIN) or of_first_run.get(role)
        if not secret:
            raise DemoError(
                f"No {role} token: {data_dir / firstrun.FILE} is not there. Give one with --token, "
                f"made by `{MAKE_ONE}`."
            )
        found[str(role)] = secret
    return found


def _from_environment(role: Role) -> str | None:
    return os.environ.get(f"HOMELAB_TOKEN_{role.upper()}") or None


def _detail(answer: requests.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.reason
    return str(body.get("detail", body)) if isinstance(body, dict) else str(body)
