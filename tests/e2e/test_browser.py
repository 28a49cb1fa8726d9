"""The pages in a real browser: they work under their own Content-Security-Policy, which it enforces."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.conf import settings as loaded
from django.core.wsgi import get_wsgi_application
from django.template.autoreload import reset_loaders
from django.test import override_settings

from incidents.models import Incident
from tests.agents.rows import an_action
from tests.incidents.rows import an_episode

from .process import TOOLS, binary
from .require import require

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
LOGINS = ("/login", "/admin/login/")
# Each page, and a word that only its own scripts put there, or that stands on no other.
PAGES = {
    "/login": "Log in",
    "/admin/login/": "Django administration|homelab",
    "/": "Waiting for you",
    "/incidents/{incident}": "Killed process 7",
    "/admin/": "Records",
    "/admin/incidents/incident/": "ServiceDown",
    "/admin/incidents/incident/{incident}/change/": "False alarm",
    "/admin/incidents/incident/?q=ServiceDown": "the causes of the newest",
    "/admin/approvals/": "Dry run",
    "/admin/playbooks/": "container_exited",
    "/admin/tools/": "docker_inspect",
    "/admin/budgets/": "Reserved",
    "/admin/channels/": "Nobody is told",
    "/admin/doctor/": "Run all",
    "/admin/incidents/token/add/": "Add token",
    "/admin/auth/user/add/": "Password-based authentication",
    "/api/docs": "/api/v1/incidents/{id}/annotate",  # from the schema, which Swagger's script fetched
}
COMPLAINT = re.compile(r".*(?:Content.Security.Policy|Uncaught|Refused to).*")


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def signed_on(application: Any) -> Any:
    """As behind a proxy that knows who is there; only the login is seen as by a stranger."""

    def proxied(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] not in LOGINS:
            environ |= {"HTTP_REMOTE_USER": "kim", "HTTP_REMOTE_GROUPS": "admins"}
        return application(environ, start_response)

    return proxied


def sso() -> dict[str, Any]:
    """The settings by which `signed_on` is believed."""
    return {
        "TRUSTED_PROXIES": [ip_network("127.0.0.1")],
        "REMOTE_USER_HEADER": "Remote-User",
        "SSO_GROUPS": {"admins": "admin"},
    }


@pytest.fixture
def site() -> Iterator[str]:
    require("chromium")
    with override_settings(**sso()):
        server = make_server("127.0.0.1", 0, signed_on(get_wsgi_application()), Server, Quiet)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()


def browse(url: str, profile: Path) -> tuple[str, list[str]]:
    """The page as the browser made it, after 15 s of its own time, and what its console complained about."""
    done = subprocess.run(
        [
            binary(*TOOLS["chromium"][0]),
            "--headless=new",
            "--no-sandbox",  # it refuses root otherwise, and shows our own pages only
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=15000",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, COMPLAINT.findall(done.stderr)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_works_under_its_policy(site: str, tmp_path: Path, path: str) -> None:
    action = an_action()
    an_episode(action.incident, annotations={"runbook_url": "https://wiki.example/run"})
    page, complaints = browse(site + path.format(incident=action.incident_id), tmp_path)
    assert complaints == []
    assert re.search(PAGES[path] if "|" in PAGES[path] else re.escape(PAGES[path]), page), page[:3000]


def test_the_policy_is_enforced(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would show nothing: what got past the escaping is not run, and that is told."""
    action = an_action()
    script = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    Incident.objects.filter(pk=action.incident_id).update(description=script)
    template = Path(loaded.BASE_DIR / "templates" / "incident.html").read_text()
    unsafe = template.replace("incident.description|truncatechars:4000", "incident.description|safe")
    assert unsafe != template
    monkeypatch.setattr("django.template.loaders.filesystem.Loader.get_contents", lambda _self, origin: (
        unsafe if origin.template_name == "incident.html" else Path(origin.name).read_text()
    ))  # fmt: skip
    reset_loaders()  # pages that were shown before are remembered
    try:
        page, complaints = browse(f"{site}/incidents/{action.incident_id}", tmp_path)
    finally:
        reset_loaders()
    assert "<script>document.title" in page, "it was put into the page"
    assert "<title>owned" not in page
    assert len(complaints) >= 2
