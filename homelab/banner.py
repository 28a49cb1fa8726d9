"""What a start says: where we are, how to send alerts here, who reasons, and what is not set up."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from dotenv import dotenv_values

from agents import reasoners
from agents.budget import cap_line
from agents.reasoners import rungs
from homelab import dotenv, env, firstrun, listen
from incidents import channels, connect

TEST_ALERT = """\
curl -sS {url}/alert -H "Authorization: Bearer {token}" -H "Content-Type: application/json" -d '
  {{"version": "4", "status": "firing", "groupKey": "test", "alerts": [{{"status": "firing",
    "labels": {{"alertname": "TestAlert", "severity": "warning"}},
    "annotations": {{"summary": "A test from the command line"}},
    "startsAt": "'$(date -u +%Y-%m-%dT%H:%M:%SZ)'"}}]}}'"""


def text(*, made: bool, secrets: firstrun.FirstRun | None) -> str:
    """All of it. `secrets` only where nobody but the owner reads along, which is a terminal."""
    url = settings.PUBLIC_URL or listen.local_url()
    return "\n\n".join(
        [
            f"homelab {settings.VERSION} at {url}/ (records at {url}/admin/, API at {url}/api/docs)",
            credentials(made=made, secrets=secrets),
            "Alertmanager's receiver, to paste and to route to:\n\n" + receiver(url, secrets),
            "A test alert:\n\n" + test_alert(url, secrets),
            "\n".join(state()),
        ]
    )


def credentials(*, made: bool, secrets: firstrun.FirstRun | None) -> str:
    file = settings.DATA_DIR / firstrun.FILE
    if secrets is not None and made:
        tokens = "".join(f"\n  {role:8} {token}" for role, token in secrets["tokens"].items())
        admin = secrets["admin"]
        return f"Made now, and kept in {file}:\n  {admin['username']} / {admin['password']}{tokens}"
    if made:
        return f"The admin's password and the tokens were made now: {file}"
    if file.exists():
        return f"The admin's password and the tokens are in {file}"
    return "Passwords: manage.py changepassword USER. Tokens: manage.py tokens create NAME --role ROLE"


def receiver(url: str, secrets: firstrun.FirstRun | None) -> str:
    token = secrets["tokens"]["ingest"] if secrets else f"TOKEN  # {_where_ingest()}"
    return connect.receiver(url, token)


def test_alert(url: str, secrets: firstrun.FirstRun | None) -> str:
    return TEST_ALERT.format(url=url, token=secrets["tokens"]["ingest"] if secrets else "TOKEN")


def _where_ingest() -> str:
    file: Path = settings.DATA_DIR / firstrun.FILE
    if file.exists():
        return f'"ingest" in {file}'
    return "python manage.py tokens create NAME --role ingest"


def state() -> list[str]:
    """A line each on who reasons, on proof, on what may be changed, and on who is told."""
    return [
        ladder(),
        f"Proof: asks {shown(settings.PROMETHEUS_URL)}"
        if settings.PROMETHEUS_URL
        else "Proof unavailable (PROMETHEUS_URL is not set): what cannot be proved is not done unasked",
        _changes(),
        f"Told: {channels.summary() or 'nobody (NOTIFY_URLS is not set)'}",
        *(f"Warning: {each}" for each in (*env.open_to_others(), *dotenv.mistyped())),
    ]


def ladder() -> str:
    """The rungs, each with its place, its key's origin and its cap, and which one works if not the first."""
    lines = [rung(each) for each in rungs.configured()]
    if not lines:
        return "Reasoning: playbooks (no OPENAI_API_KEY and no OPENAI_BASE_URL)"
    works, why = reasoners.standing()
    now = f"\n  now {works} ({why})" if why else ""
    return "\n  then ".join([f"Reasoning: {lines[0]}", *lines[1:], "playbooks"]) + now


def rung(of: rungs.Rung) -> str:
    """One rung: which model, where, by whose key, and for how much at most."""
    key = f"key from {origin(of.key_name)}" if of.api_key else "no key"
    cap = "in your own network, so free" if of.free else cap_line(of.model, of.endpoint)
    return f"{of.name} {of.model} at {of.endpoint}, {key}, {cap}"


def origin(name: str) -> str:
    """Where a variable came from, as somebody who wants to change it needs to know."""
    if path := os.environ.get(f"{name}_FILE"):
        return path
    file = Path(os.environ.get("HOMELAB_ENV_FILE", settings.BASE_DIR / ".env"))
    # the environment goes first, so an equal value says no more than that either would do
    if file.is_file() and dotenv_values(file).get(name) == os.environ.get(name):
        return str(file)
    return "the environment"


def shown(url: str) -> str:
    """A URL without its user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _changes() -> str:
    hosts = ", ".join(settings.DOCKER_HOSTS)
    if not hosts:
        return "Changes: none possible (no Docker: DOCKER_HOSTS is not set)"
    modes = {
        "observe": "none are made (REMEDIATION_MODE=observe)",
        "approve": "each waits for a person's approval (REMEDIATION_MODE=approve)",
        "auto": "made without asking, within their limits (REMEDIATION_MODE=auto)",
    }
    return f"Changes to Docker on {hosts}: {modes[settings.REMEDIATION_MODE]}"
