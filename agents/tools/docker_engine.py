"""Connections to the Docker engines, and which container a name means. Only ToolError leaves this file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from django.conf import settings
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound

from agents.tools.base import ToolError
from agents.tools.http import OF_A_PROXY, reason_of

TIMEOUT = 15  # seconds, for each read from an engine
KEY_PREFIX = "docker:"
MAX_EVENTS = 2000
FORBIDDEN = 403
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_ID = re.compile(r"[0-9a-f]{12,64}")


class Refused(ToolError):
    """The engine, or more often a proxy before its socket, does not allow this read."""


@dataclass(frozen=True)
class EngineEvent:
    """Something that happened to a container. `at`: seconds since 1970 by the engine's clock."""

    at: float
    action: str
    exit_code: int | None
    signal: str | None


def docker_hosts() -> Mapping[str, str]:
    """Host name to engine URL."""
    return settings.DOCKER_HOSTS or {}


def key_of(host: str, name: str) -> str:
    """The inventory's spelling of a container."""
    return f"{KEY_PREFIX}{host}/{name}"


@contextmanager
def engine(host: str) -> Iterator[APIClient]:
    """A client of that host's engine, for one use; errors inside the block come out as ToolError.

    One each time: a client is a requests session, which threads must not share.
    """
    url = docker_hosts().get(host)
    if url is None:
        raise ToolError(f"no Docker host is named {host!r}; known: {', '.join(docker_hosts()) or 'none'}")
    client: APIClient | None = None
    try:
        # The engine's own version: the oldest that new ones still speak is newer than what old ones speak.
        client = APIClient(base_url=url, version="auto", timeout=TIMEOUT)
        client.hooks["response"].append(_refuse_no_text)
        yield client
    except NotFound as error:
        raise ToolError(f"Docker host {host}: {error.explanation or 'not found'}") from error
    except requests.HTTPError as error:  # the client's APIError is one too
        raise _refusal(host, error) from error
    except requests.Timeout as error:
        text = f"Docker host {host} did not answer in {TIMEOUT} s"
        raise ToolError(text, retryable=True, unanswered=True) from error
    except (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        text = f"Docker host {host} cannot be reached: {reason_of(error)}"
        # The client's own exceptions come before any request of ours: it asked for the engine's version.
        unanswered = not isinstance(error, DockerException)
        raise ToolError(text, retryable=True, unanswered=unanswered) from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        text = f"an answer of Docker host {host} has an unknown shape: {error!r}"
        raise ToolError(text, unanswered=True) from error
    finally:
        if client is not None:
            client.close()


def _refuse_no_text(response: requests.Response, **_: Any) -> None:
    """ValueError for JSON that is not UTF-8: its reader would guess an encoding, and read words into it."""
    if not urlsplit(response.url).path.endswith("/logs"):  # all else is JSON, or empty
        response.content.decode()


def resolve(container: str) -> tuple[str, str]:
    """Host and name of `docker:host/name` or of a bare name. ToolError when it is unknown or ambiguous."""
    if container.startswith(KEY_PREFIX):
        host, _, name = container.removeprefix(KEY_PREFIX).partition("/")
        if host not in docker_hosts():
            raise ToolError(f"no Docker host is named {host!r}; known: {', '.join(docker_hosts()) or 'none'}")
        return host, checked_name(name)
    name = checked_name(container.lstrip("/"))
    found, silent = _hosts_with(name)
    candidates = ", ".join(key_of(host, name) for host in found)
    if len(found) > 1:
        raise ToolError(f"{name} is on more than one host; say which: {candidates}")
    if silent:
        known = f"{candidates} exists, but " if found else ""
        text = f"{known}not every host could be asked for {name}; give docker:host/name. {'; '.join(silent)}"
        raise ToolError(text, retryable=True)
    if not found:
        raise ToolError(f"no container is named {name} on {', '.join(docker_hosts())}")
    return found[0], name


def checked_name(name: str) -> str:
    """The name, if Docker could have given it: the client would put any text into the request's path."""
    if not _NAME.fullmatch(name):
        raise ToolError(f"{name!r} is no name of a container")
    return name


def inspect(client: APIClient, name: str) -> dict[str, Any]:
    """The engine's description of the container with exactly that name, or an id of 12 digits or more."""
    attributes: dict[str, Any] = client.inspect_container(checked_name(name))
    by_id = _ID.fullmatch(name) and attributes["Id"].startswith(name)
    # The engine also takes the beginning of an id: "ab" would be any container whose id starts so.
    if attributes["Name"].lstrip("/") != name and not by_id:
        raise ToolError(f"no container is named {name}")
    return attributes


def engine_now(client: APIClient) -> float:
    """Seconds since 1970 by the engine's clock, which need not be ours."""
    try:
        now = seconds(client.info()["SystemTime"])
    except APIError as error:
        if error.status_code != FORBIDDEN:
            raise
        # A socket proxy that hides /info: the clock of its HTTP answers, which cuts off fractions.
        date = client.get(f"{client.base_url}/_ping", timeout=TIMEOUT).headers.get("Date")
        now = parsedate_to_datetime(date).timestamp() + 1 if date else None
    if now is None:
        raise ToolError("the Docker engine does not say what time it is", retryable=True)
    return now


def events_of(client: APIClient, container_id: str, *, since: float, until: float) -> list[EngineEvent]:
    """What the engine still remembers of a container: of its last 256 events, none from before its start.

    Not the client's own `events()`, which waits without limit.
    """
    filters = json.dumps({"type": ["container"], "container": [container_id]})
    response = client.get(
        f"{client.base_url}/v{client.api_version}/events",
        params={"since": f"{since:.6f}", "until": f"{until:.6f}", "filters": filters},
        timeout=TIMEOUT,
    )
    response.raise_for_status()
    return [_event(json.loads(line)) for line in response.text.splitlines()[-MAX_EVENTS:] if line.strip()]


def seconds(moment: str | None) -> float | None:
    """An engine's RFC 3339 time as seconds since 1970; None for Go's zero time, which means never."""
    if not moment or moment.startswith("0001-"):
        return None
    return datetime.fromisoformat(moment).timestamp()


def _refusal(host: str, error: requests.HTTPError) -> ToolError:
    status = error.response.status_code if error.response is not None else None
    text = (error.explanation if isinstance(error, APIError) else None) or str(error)
    if status == FORBIDDEN:
        return Refused(f"Docker host {host} does not allow this: {text}")
    retryable = status is not None and status >= 500
    return ToolError(f"Docker host {host}: {text}", retryable=retryable, unanswered=status in OF_A_PROXY)


def _hosts_with(name: str) -> tuple[list[str], list[str]]:
    """The hosts that have a container of that name, and the errors of those that could not be asked."""
    found, silent = [], []
    for host in docker_hosts():
        try:
            with engine(host) as client:
                rows = client.containers(all=True, filters={"name": f"^/?{re.escape(name)}$"})
        except ToolError as error:
            silent.append(str(error))
            continue
        # A link gives a container further names, `/other/alias`; only its own has one slash.
        if any(f"/{name}" in (row.get("Names") or ()) for row in rows):
            found.append(host)
    return found, silent


def _event(raw: dict[str, Any]) -> EngineEvent:
    attributes = raw.get("Actor", {}).get("Attributes", {})
    code = attributes.get("exitCode")
    action = str(raw["Action"])
    # `exec_create: sh -c …` holds a command line, and with it whatever was passed on it.
    short = action.split(":", 1)[0] if action.startswith("exec_") else action
    return EngineEvent(
        at=raw["timeNano"] / 1e9,
        action=short,
        exit_code=int(code) if code else None,
        signal=attributes.get("signal"),
    )
