"""Single sign-on: a trusted proxy's word on who is there counts for one request, nobody else's ever does."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client

from agents.models import Action
from incidents.access import RolePermission
from incidents.models import Event
from tests.agents.rows import an_action
from tests.homelab.test_env import settings_with
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db
PROXY, STRANGER = "10.0.0.5", "192.0.2.7"


@pytest.fixture(autouse=True)
def authelia(settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/24")]
    settings.REMOTE_USER_HEADER = "Remote-User"
    settings.REMOTE_GROUPS_HEADER = "Remote-Groups"
    settings.SSO_GROUPS = {"family": "viewer", "ops": "operator", "bosses": "admin"}


def ask(path: str, groups: str | None = None, *, peer: str = PROXY, **more: str) -> Any:
    """A browser's request, as the proxy (or `peer`) passes it on for kim."""
    headers = {"Accept": "text/html,*/*;q=0.8", "Remote-User": "kim", **more}
    if groups is not None:
        headers["Remote-Groups"] = groups
    return Client(REMOTE_ADDR=peer).get(path, headers=headers)


@pytest.mark.parametrize(
    ("groups", "overview", "records", "users", "audit"),
    [
        ("family", 200, 302, 302, 403),
        ("ops", 200, 200, 403, 403),
        ("bosses", 200, 200, 200, 200),
        ("family,bosses", 200, 200, 200, 200),  # the highest counts
        ("other, ops", 200, 200, 403, 403),
    ],
)
def test_a_group_gives_its_role(groups: str, overview: int, records: int, users: int, audit: int) -> None:
    pages = ("/", "/admin/", "/admin/auth/user/", "/api/v1/events")
    assert [ask(page, groups).status_code for page in pages] == [overview, records, users, audit]


@pytest.mark.parametrize("groups", [None, "", "others", "Family", "famil", "family2,ops-team"])
def test_without_a_group_of_ours_nothing_opens_and_it_is_said(groups: str | None) -> None:
    for path in ("/", "/admin/", "/login", "/api/v1/incidents", "/api/docs", "/stats"):
        answer = ask(path, groups)
        assert answer.status_code == 403, path
        assert "kim, you are in none of the groups" in answer.content.decode()
    assert not get_user_model().objects.exists()


def test_a_program_is_refused_in_json() -> None:
    answer = ask("/stats", "others", Accept="*/*")
    assert (answer.status_code, answer.json()["detail"][:4]) == (403, "kim,")


def test_an_account_is_made_by_single_sign_on() -> None:
    ask("/", "ops")
    event = Event.objects.get(kind=Event.Kind.ACCOUNT)
    assert (event.actor, event.text) == ("single sign-on", "made kim (viewer)")


def test_nobody_else_is_believed() -> None:
    assert ask("/", "bosses", peer=STRANGER)["Location"] == "/login?next=/"
    assert ask("/stats", "bosses", peer=STRANGER).status_code == 401
    assert ask("/stats", "bosses", peer=STRANGER, **{"X-Forwarded-For": PROXY}).status_code == 401
    assert not get_user_model().objects.exists()


@pytest.mark.parametrize("peer", [PROXY, STRANGER])
def test_the_headers_reach_no_view(monkeypatch: pytest.MonkeyPatch, peer: str) -> None:
    seen: set[str] = set()

    def has_permission(_self: RolePermission, request: Any, _view: Any) -> bool:
        seen.update(request.META)
        return True

    monkeypatch.setattr(RolePermission, "has_permission", has_permission)
    ask("/stats", "bosses", peer=peer)
    assert "HTTP_ACCEPT" in seen
    assert {"HTTP_REMOTE_USER", "HTTP_REMOTE_GROUPS"}.isdisjoint(seen)


def test_the_word_of_one_request_is_not_kept_for_the_next() -> None:
    browser = Client(REMOTE_ADDR=PROXY)

    def status(groups: str | None) -> int:
        headers = {} if groups is None else {"Remote-User": "kim", "Remote-Groups": groups}
        return int(browser.get("/admin/auth/user/", headers=headers).status_code)

    assert [status("bosses"), status("ops"), status("family"), status(""), status(None)] == [
        200,
        403,
        302,
        403,
        302,
    ]
    kim = get_user_model().objects.get()
    assert (kim.is_staff, kim.is_superuser, kim.has_usable_password()) == (False, False, False)
    assert not Session.objects.exists()


def test_a_session_is_not_believed_against_the_proxy(person: Any) -> None:
    browser = person(superuser=True, name="robin")
    answer = browser.get(
        "/admin/auth/user/", headers={"Remote-User": "kim", "Remote-Groups": "ops"}, REMOTE_ADDR=PROXY
    )
    assert answer.status_code == 403


def test_who_has_a_password_here_is_not_taken_over(person: Any) -> None:
    person(superuser=True, name="kim")
    answer = ask("/", "family")
    assert answer.status_code == 403
    assert "has a password here" in answer.content.decode()
    kim = get_user_model().objects.get()
    kim.set_unusable_password()
    kim.save()
    assert ask("/", "family").status_code == 200
    assert ask("/admin/auth/user/", "family").status_code == 302, "the group counts, not what the row says"


def test_an_account_that_was_switched_off_stays_so() -> None:
    get_user_model().objects.create_user("kim", is_active=False)
    assert ask("/", "bosses").status_code == 403


def test_alerts_are_brought_with_tokens_only() -> None:
    answer = Client(REMOTE_ADDR=PROXY).post(
        "/alert",
        {"alerts": []},
        content_type="application/json",
        headers={"Remote-User": "kim", "Remote-Groups": "bosses"},
    )
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/health", "/metrics"])
def test_probes_ask_as_ever(path: str) -> None:
    assert ask(path, "others").status_code == 200


def test_the_api_works_and_wants_its_csrf_token() -> None:
    incident = an_incident()
    path = f"/api/v1/incidents/{incident.pk}/acknowledge"
    signed_on = {"Remote-User": "kim", "Remote-Groups": "ops"}
    strict = Client(REMOTE_ADDR=PROXY, enforce_csrf_checks=True)
    assert strict.post(path, headers=signed_on).status_code == 403
    strict.get(f"/incidents/{incident.pk}", headers=signed_on)
    token = strict.cookies["csrftoken"].value
    signed = {**signed_on, "X-CSRFToken": token}
    assert strict.post(path, content_type="application/json", headers=signed).status_code == 200
    incident.refresh_from_db()
    assert incident.acknowledged_by == "kim"


def test_a_decision_on_the_page_wants_it_too() -> None:
    action = an_action()
    path = f"/incidents/{action.incident_id}/actions/{action.pk}/approve"
    signed_on = {"Remote-User": "kim", "Remote-Groups": "ops"}
    strict = Client(REMOTE_ADDR=PROXY, enforce_csrf_checks=True)
    assert strict.post(path, headers=signed_on).status_code == 403
    strict.get("/", headers=signed_on)
    strict.post(path, {"csrfmiddlewaretoken": strict.cookies["csrftoken"].value}, headers=signed_on)
    assert Action.objects.get().decided_by == "kim"


def test_authentik_separates_groups_in_its_own_way(settings: Any) -> None:
    settings.REMOTE_USER_HEADER = "X-authentik-username"
    settings.REMOTE_GROUPS_HEADER = "X-authentik-groups"

    def status(groups: str) -> int:
        headers = {"X-authentik-username": "kim", "X-authentik-groups": groups}
        return int(Client(REMOTE_ADDR=PROXY).get("/", headers=headers).status_code)

    assert status("others|family") == 200
    assert status("others,family") == 403, "one group, with a comma in its name"


@pytest.mark.parametrize("name", ["", " ", "kim,robin", "x" * 151, "k\x00im", "k\u200bim", "\xff"])
def test_a_name_that_cannot_be_one(name: str) -> None:
    if name.isascii() or name == "\xff":
        raw = name
    else:
        raw = name.encode().decode("latin-1")
    answer = Client().get("/", REMOTE_ADDR=PROXY, HTTP_REMOTE_USER=raw, HTTP_REMOTE_GROUPS="bosses")
    assert answer.status_code == 403
    assert not get_user_model().objects.exists()


def test_a_name_in_any_language() -> None:
    raw = "Jürgen".encode().decode("latin-1")
    answer = Client().get("/", REMOTE_ADDR=PROXY, HTTP_REMOTE_USER=raw, HTTP_REMOTE_GROUPS="family")
    assert answer.status_code == 200
    assert get_user_model().objects.get().username == "Jürgen"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TRUSTED_PROXIES": "10.0.0.5,0.0.0.0/0"}, "TRUSTED_PROXIES: 0.0.0.0/0 is everybody"),
        ({"TRUSTED_PROXIES": "10.0.0.5/24"}, "TRUSTED_PROXIES: 10.0.0.5/24 has host bits set"),
        (
            {"REMOTE_USER_HEADER": "Remote-User", "SSO_GROUPS": "a=admin"},
            "REMOTE_USER_HEADER: name the proxies",
        ),
        ({"SSO_GROUPS": "a=admin"}, "set both or neither"),
        ({"SSO_GROUPS": "a=ingest"}, "SSO_GROUPS: wants"),
        ({"SSO_GROUPS": "a=admin,a=viewer"}, "each group once"),
    ],
)
def test_half_of_it_stops_the_start(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    done = settings_with(tmp_path, **variables)
    assert done.returncode != 0
    assert said in done.stderr


def test_off_unless_configured(settings: Any) -> None:
    settings.REMOTE_USER_HEADER = None
    assert ask("/", "bosses")["Location"] == "/login?next=/"
