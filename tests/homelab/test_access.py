"""Who may do what at the root and on the pages, as tables, and under which Host headers.

`test_permissions.py` has the table of `/api/v1`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from django.utils import timezone

from agents import links
from agents.models import Autonomy
from incidents import access
from incidents.access import revoke_token
from incidents.models import Token
from tests.agents.rows import an_action
from tests.conftest import Api

pytestmark = pytest.mark.django_db
ROLES = (None, "ingest", "viewer", "operator", "admin")

# Per endpoint: who gets in, of nobody, ingest, viewer, operator and admin.
ALL = "yyyyy"
VIEWERS, OPERATORS, ADMINS, SENDERS = "nnyyy", "nnnyy", "nnnny", "nynny"
READS = {
    "/health": ALL,
    "/health/live": ALL,
    "/health/ready": ALL,
    "/metrics": ALL,
    "/stats": VIEWERS,
    "/incidents": VIEWERS,
    "/api/schema": VIEWERS,
    "/api/docs": VIEWERS,
}
WRITES = {
    "/alert": SENDERS,
    "/trigger-health-check": OPERATORS,
}
# The same of people in a browser; who may not is sent to log in, or told 403.
PAGES = {
    "/": VIEWERS,
    "/slo": VIEWERS,
    "/connect": VIEWERS,
    "/offline": ALL,
    "/sw.js": ALL,
    "/incidents/{incident}": VIEWERS,
    "/incidents/{incident}/chart": VIEWERS,
    "/incidents/{incident}/record": VIEWERS,
    "/incidents/{incident}/postmortem": VIEWERS,
    "/incidents/{incident}/postmortem.md": VIEWERS,
    "/login": ALL,
    "/q/{link}": ALL,  # the link in a message is its own credential
    "/admin": ALL,  # leads to the next
    "/admin/": OPERATORS,
    "/admin/approvals/": OPERATORS,
    "/admin/playbooks/": OPERATORS,
    "/admin/tools/": OPERATORS,
    "/admin/budgets/": OPERATORS,
    "/admin/channels/": OPERATORS,
    "/admin/doctor/": OPERATORS,
    "/admin/auth/user/": ADMINS,
    "/admin/incidents/incident/": ADMINS,  # operators see there what Django's permissions give them
    "/admin/incidents/token/": ADMINS,
}
DECISIONS = {
    "/incidents/{incident}/acknowledge": OPERATORS,
    "/incidents/{incident}/annotate": OPERATORS,
    "/incidents/{incident}/rate": OPERATORS,
    "/incidents/{incident}/note": OPERATORS,
    "/incidents/{incident}/escalate": OPERATORS,
    "/incidents/{incident}/investigate": OPERATORS,
    "/incidents/{incident}/postmortem/summary": OPERATORS,
    "/incidents/{incident}/actions/{action}/approve": OPERATORS,
    "/incidents/{incident}/actions/{action}/reject": OPERATORS,
    "/incidents/{incident}/actions/{action}/ask-again": OPERATORS,
    "/autonomy/{pair}/raise": OPERATORS,
    "/autonomy/{pair}/lower": OPERATORS,
    "/autonomy/{pair}/decline": OPERATORS,
    "/incidents/{incident}/take-over": OPERATORS,
    "/incidents/{incident}/give-back": OPERATORS,
    "/connect/token": ADMINS,
    "/connect/test-alert": OPERATORS,
    "/pause": OPERATORS,
    "/pauses/1/lift": OPERATORS,
    "/admin/approvals/{action}/approve/": OPERATORS,
    "/admin/approvals/{action}/reject/": OPERATORS,
    "/admin/channels/json-1/test/": OPERATORS,
    "/admin/doctor/secrets/": OPERATORS,
}
# What HOMELAB_OPEN_READ opens to everybody.
OPEN = {"/stats", "/incidents"}


@pytest.fixture
def rows(db: None) -> dict[str, int | str]:
    action = an_action()
    return {
        "link": links.sign(action.pk, "json-1"),
        "incident": action.incident_id,
        "action": action.pk,
        "pair": Autonomy.objects.create(
            kind=action.kind, target_kind=action.target.kind, alert_name="ServiceDown"
        ).pk,
        "target": action.target_id,
    }


def entered(answer: Any) -> bool:
    """Past the door: whatever the endpoint then says of an empty body."""
    return answer.status_code not in (401, 403)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_on_every_endpoint(
    api: Callable[..., Api], rows: dict[str, int | str], role: str | None
) -> None:
    client, place = api(role), ROLES.index(role)
    reads = {path: entered(client.get(path.format(**rows))) for path in READS}
    assert reads == {path: who[place] == "y" for path, who in READS.items()}
    writes = {path: entered(client.post(path.format(**rows))) for path in WRITES}
    assert writes == {path: who[place] == "y" for path, who in WRITES.items()}


@pytest.mark.parametrize("role", [None, "ingest"])
def test_open_read_opens_the_viewers_reads_and_nothing_else(
    api: Callable[..., Api], rows: dict[str, int | str], settings: Any, role: str | None
) -> None:
    settings.OPEN_READ = True
    client, place = api(role), ROLES.index(role)
    reads = {path: entered(client.get(path.format(**rows))) for path in READS}
    assert reads == {path: path in OPEN or who[place] == "y" for path, who in READS.items()}
    writes = {path: entered(client.post(path.format(**rows))) for path in WRITES}
    assert writes == {path: who[place] == "y" for path, who in WRITES.items()}


def test_open_read_shows_no_audit_and_no_outputs(
    api: Callable[..., Api], rows: dict[str, int | str], settings: Any
) -> None:
    settings.OPEN_READ = True
    client = api(None)
    assert client.get(f"/api/v1/incidents/{rows['incident']}").json()["events"] is None
    assert client.get(f"/api/v1/targets/{rows['target']}").json()["facts"] is None
    assert b"secret-looking" not in client.get(f"/api/v1/incidents/{rows['incident']}/runs").content


def test_outputs_are_for_operators(viewer: Api, operator: Api, rows: dict[str, int | str]) -> None:
    path = f"/api/v1/incidents/{rows['incident']}/runs"
    seen = viewer.get(path).json()["results"][0]["steps"][0]
    assert seen["tool_calls"][0]["tool"] == "container_logs"
    assert seen["tool_calls"][0]["seconds"] == 0.2
    assert (seen["output"], seen["tool_calls"][0]["output"], seen["model_calls"][0]["request"]) == (None,) * 3
    whole = operator.get(path).json()["results"][0]["steps"][0]
    assert whole["tool_calls"][0]["output"].startswith("secret-looking")
    assert whole["output"]["certainty"] == "CONFIRMED"


def test_a_revoked_token_is_none(api: Callable[..., Api]) -> None:
    client = api("admin")
    assert client.get("/stats").status_code == 200
    assert revoke_token(Token.objects.get(), by="robin")
    answer = client.get("/stats")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="homelab"')


def test_a_token_that_another_process_revoked_works_no_longer_than_it_is_remembered(
    api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = api("viewer")
    assert client.get("/stats").status_code == 200
    Token.objects.update(revoked_at=timezone.now())
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + access.REMEMBER_SECONDS)
    assert client.get("/stats").status_code == 401


def test_a_person_in_a_browser_needs_a_csrf_token_to_write(
    person: Callable[..., Client], rows: dict[str, int | str]
) -> None:
    logged_in = person(staff=True)
    assert logged_in.get("/api/v1/incidents").status_code == 200
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = logged_in.cookies
    assert strict.post(f"/api/v1/incidents/{rows['incident']}/acknowledge").status_code == 403
    assert logged_in.post(f"/api/v1/incidents/{rows['incident']}/acknowledge").status_code == 200


@pytest.mark.parametrize(
    ("staff", "superuser", "who"), [(False, False, 2), (True, False, 3), (True, True, 4)]
)
def test_people_have_roles_too(
    person: Callable[..., Client], rows: dict[str, int | str], staff: bool, superuser: bool, who: int
) -> None:
    client = person(staff=staff, superuser=superuser)
    reads = {path: entered(client.get(path.format(**rows))) for path in READS}
    assert reads == {path: by[who] == "y" for path, by in READS.items()}
    writes = {path: entered(client.post(path.format(**rows))) for path in WRITES}
    # a program's token is needed to bring alerts, a person has none
    assert writes == {path: by[who] == "y" and path != "/alert" for path, by in WRITES.items()}


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
def test_machines_may_call_us_by_any_name(api: Callable[..., Api], path: str) -> None:
    for host in ("10.0.0.7:5000", "crew_1", "evil.example"):
        assert api(None).get(path, Host=host).status_code == 200


def test_alertmanager_may_call_us_by_any_name(ingest: Api) -> None:
    for path in ("/alert", "/alert/"):
        assert ingest.post(path, {"alerts": []}, Host="crew_1:5000").status_code == 200


@pytest.mark.parametrize("path", ["/", "/stats", "/incidents", "/admin/", "/api/v1/incidents", "/alerts"])
def test_elsewhere_a_foreign_name_is_a_400(viewer: Api, path: str) -> None:
    assert viewer.get(path, Host="evil.example").status_code == 400


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/nothing"])
def test_what_is_not_there(admin: Api, path: str) -> None:
    assert admin.get(path).status_code == 404


def _routes(patterns: list[Any], prefix: str = "") -> list[str]:
    found = []
    for each in patterns:
        if isinstance(each, URLResolver):
            found += _routes(each.url_patterns, _joined(prefix, each))
        elif isinstance(each, URLPattern):
            found.append(_joined(prefix, each))
    return found


def _joined(prefix: str, pattern: URLPattern | URLResolver) -> str:
    """As Django names a route that it found."""
    route = str(pattern.pattern)
    return prefix + route.removeprefix("^") if prefix else route


def _route(path: str) -> str:
    return resolve(path.partition("?")[0]).route


def test_no_endpoint_is_missing_from_the_tables(rows: dict[str, int | str]) -> None:
    """An endpoint that is added must be put into the tables above. Some of Django's admin stand for all."""
    tables = {**READS, **WRITES, **PAGES, **DECISIONS}
    covered = {_route(path.format(**rows)) for path in (*tables, "/logout")}
    missing = [
        route
        for route in _routes(get_resolver().url_patterns)
        if route not in covered and not route.startswith(("admin/", "^api(?:", "api/v1/"))
    ]
    assert missing == []


@pytest.mark.parametrize("role", [None, "viewer", "operator", "admin"])
def test_every_role_on_every_page(
    person: Callable[..., Client], rows: dict[str, int | str], role: str | None
) -> None:
    place = ROLES.index(role)
    client = person(staff=role == "operator", superuser=role == "admin") if role else Client()

    def opened(answer: Any) -> bool:
        if answer.status_code == 302:
            return "login" not in str(answer["Location"])
        return bool(answer.status_code != 403)

    shown = {path: opened(client.get(path.format(**rows))) for path in PAGES}
    assert shown == {path: who[place] == "y" for path, who in PAGES.items()}
    done = {path: opened(client.post(path.format(**rows))) for path in DECISIONS}
    assert done == {path: who[place] == "y" for path, who in DECISIONS.items()}
    assert client.post("/logout").status_code == 302


@pytest.mark.parametrize("role", ["ingest", "viewer", "operator", "admin"])
def test_a_token_opens_no_page(api: Callable[..., Api], rows: dict[str, int | str], role: str) -> None:
    """Pages are for people: what acts in a browser is guarded by a session and its CSRF token."""
    client = api(role)
    closed = {path for path, who in PAGES.items() if who != ALL}
    answers = [client.get(path.format(**rows)) for path in closed]
    assert all(answer.status_code == 302 and "login" in answer["Location"] for answer in answers)
    posts = [client.post(path.format(**rows)) for path in DECISIONS]
    assert all(answer.status_code == 302 and "login" in answer["Location"] for answer in posts)
