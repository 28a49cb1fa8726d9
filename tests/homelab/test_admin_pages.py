"""The admin's pages that show no table: what waits for a yes, playbooks, tools, money, channels, doctor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from agents import adminpages, playbooks
from agents.models import Action, ModelCall, Step, ToolCall
from agents.tools import REGISTRY
from agents.tools.base import Health
from homelab import doctor
from incidents.models import Event, Incident, Notification, Verdict
from tests.agents.rows import a_run, an_action
from tests.incidents.rows import a_target, an_incident

pytestmark = pytest.mark.django_db
Person = Callable[..., Client]
READS = ("approvals", "playbooks", "tools", "budgets", "channels", "doctor")
WRITES = ("approvals/{action}/approve", "approvals/{action}/reject", "channels/json-1/test", "doctor/secrets")


@pytest.fixture
def operator(person: Person) -> Client:
    return person(staff=True)


def text(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return " ".join(answer.content.decode().split())


def said(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


@pytest.mark.parametrize(("staff", "superuser", "enters"), [(0, 0, False), (1, 0, True), (1, 1, True)])
def test_operators_enter_and_viewers_do_not(
    person: Person, settings: Any, staff: int, superuser: int, enters: bool
) -> None:
    settings.NOTIFY_URLS = ["json://127.0.0.1:9"]
    client, action = person(staff=bool(staff), superuser=bool(superuser)), an_action()
    for page in READS:
        assert (client.get(f"/admin/{page}/").status_code == 200) is enters, page
    for page in WRITES:
        answer = client.post(f"/admin/{page.format(action=action.pk)}/")
        assert ("login" not in answer.get("Location", "")) is enters, page
    assert Client().get("/admin/approvals/").status_code == 302


def test_what_changes_something_wants_a_post_with_a_csrf_token(operator: Client, settings: Any) -> None:
    settings.NOTIFY_URLS = ["json://127.0.0.1:9"]
    action = an_action()
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    for page in WRITES:
        path = f"/admin/{page.format(action=action.pk)}/"
        assert operator.get(path).status_code == 405
        assert strict.post(path).status_code == 403
    assert Action.objects.get().status == "awaiting_approval"


def test_a_breadcrumb_says_nothing_twice(person: Person) -> None:
    page = person(superuser=True).get("/admin/incidents/incident/")
    assert page.context["opts"].app_config.verbose_name == "Records"


class TestApprovals:
    def test_the_words_have_one_label(self, operator: Client) -> None:
        an_action()
        page = operator.get("/admin/approvals/").content.decode()
        assert 'placeholder="in your words"' in page
        assert "In your words" not in page

    def test_the_page_says_what_it_would_touch(self, operator: Client) -> None:
        an_action(
            touches="restarts docker:docker2/jellyfin, which 3 others depend on",
            target_state={"image": "jellyfin:10", "status_class": "stopped"},
        )
        page = text(operator.get("/admin/approvals/"))
        for part in (
            "restarts docker:docker2/jellyfin, which 3 others depend on",
            "image jellyfin:10",
            "REMEDIATION_MODE is approve",
            "it was killed",
        ):
            assert part in page

    def test_a_yes(self, operator: Client) -> None:
        action = an_action()
        assert said(operator.post(f"/admin/approvals/{action.pk}/approve/")) == [f"Approved: {action}."]
        action.refresh_from_db()
        assert (action.status, action.decided_by, action.by_person) == ("approved", "robin", True)
        assert "Too late" in said(operator.post(f"/admin/approvals/{action.pk}/reject/"))[-1]

    def test_a_no_with_its_reason(self, operator: Client) -> None:
        action = an_action()
        operator.post(f"/admin/approvals/{action.pk}/reject/", {"code": "wrong_cause", "reason": "no"})
        action.refresh_from_db()
        assert (action.status, action.rejected_as) == ("rejected", "wrong_cause")

    def test_a_reason_that_is_none_changes_nothing(self, operator: Client) -> None:
        action = an_action()
        operator.post(f"/admin/approvals/{action.pk}/reject/", {"code": "nonsense"})
        assert operator.post(f"/admin/approvals/{action.pk}/execute/").status_code == 404
        assert Action.objects.get().status == "awaiting_approval"

    def test_a_late_question_has_no_buttons(self, operator: Client) -> None:
        an_action(expires_at=timezone.now() - timedelta(seconds=1))
        page = text(operator.get("/admin/approvals/"))
        assert "too late" in page
        assert "/approve/" not in page

    def test_no_more_than_a_page_bears_and_it_says_so(
        self, operator: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(adminpages, "APPROVALS", 1)
        first = an_action()
        assert "More wait" not in text(operator.get("/admin/approvals/"))
        an_action(an_incident(), a_target("other"), expires_at=timezone.now() + timedelta(hours=9))
        page = text(operator.get("/admin/approvals/"))
        assert "More wait" in page
        assert page.count("/approve/") == 1
        assert f"/admin/approvals/{first.pk}/approve/" in page

    def test_the_sidebar_counts_them(self, operator: Client) -> None:
        assert "badge" not in str(operator.get("/admin/").context["sidebar_navigation"])
        an_action()
        [approvals] = [
            item
            for group in operator.get("/admin/").context["sidebar_navigation"]
            for item in group["items"]
            if item["title"] == "Approvals"
        ]
        assert approvals["badge"] == "1"


class TestSidebar:
    def test_it_shows_what_a_person_may_see(self, operator: Client) -> None:
        def titles() -> set[str]:
            groups = operator.get("/admin/").context["sidebar_navigation"]
            return {item["title"] for group in groups for item in group["items"]}

        assert {"Overview", "Approvals", "Doctor"} <= titles()
        assert not {"Incidents", "Tokens", "Deliveries", "People"} & titles()
        groups = operator.get("/admin/").context["sidebar_navigation"]
        assert "Access" not in {group["title"] for group in groups}, "no heading over nothing"
        User.objects.get().user_permissions.add(Permission.objects.get(codename="view_incident"))
        assert "Incidents" in titles()

    def test_every_table_is_in_it(self, person: Person) -> None:
        groups = person(superuser=True).get("/admin/").context["sidebar_navigation"]
        links = {item["link"] for group in groups for item in group["items"]}
        tables = {
            f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry
        }
        assert tables <= links

    def test_every_line_leads_somewhere(self, person: Person) -> None:
        root = person(superuser=True)
        for group in root.get("/admin/").context["sidebar_navigation"]:
            for item in group["items"]:
                assert root.get(item["link"]).status_code == 200, item


def test_tables_are_found_by_their_names(person: Person) -> None:
    root = person(superuser=True)
    assert "/admin/incidents/incident/" in text(root.get("/admin/search/?s=incid&extended=1"))
    for page in ("x", "0", "99", "9" * 5000):
        assert root.get(f"/admin/search/?s=incid&extended=1&page={page}").status_code == 404


class TestPlaybooks:
    def test_each_with_its_file_and_what_became_of_it(self, operator: Client) -> None:
        run = a_run(an_incident(Verdict.VERIFIED, seconds=1))
        Step.objects.filter(run=run, agent="analyst").update(
            rung="playbooks", output={"code": "container_oom.killed"}, finished_at=timezone.now()
        )
        page = text(operator.get("/admin/playbooks/"))
        assert all(f"name: {book.name}" in page for book in playbooks.load())
        assert "1 diagnosis" in page
        assert "1 verified" in page
        Incident.objects.update(verdict=Verdict.CLEARED_BEFORE_ACTION)
        assert "1 cleared before action" in text(operator.get("/admin/playbooks/"))


class TestTools:
    def test_every_tool_with_its_schema_and_how_it_did(self, operator: Client) -> None:
        a_run(an_incident())
        ToolCall.objects.update(tool="docker_logs")
        ToolCall.objects.create(
            step=Step.objects.first(), call_id="t2", tool="docker_logs", error="refused", seconds=0.4
        )
        page = text(operator.get("/admin/tools/"))
        assert all(f"<code>{name}</code>" in page for name in REGISTRY)
        assert "2 calls, 1 failed, 0.30 s each" in page
        assert "not configured" in page
        assert "set DOCKER_HOSTS" in page
        assert "<code>restart_container</code>" in page


class TestBudgets:
    def test_caps_what_is_spent_and_reserved(self, operator: Client, settings: Any) -> None:
        settings.LLM_BUDGET_DAILY_USD, settings.LLM_BUDGET_MONTHLY_USD = 1.0, 20.0
        step = a_run(an_incident()).steps.first()
        more: dict[str, Any] = {"step": step, "model": "m", "endpoint": "e", "request": {}}
        ModelCall.objects.create(**more, cost_usd="0.25", seconds=1.0)
        ModelCall.objects.create(**more, reserved_usd="0.5")
        page = text(operator.get("/admin/budgets/"))
        assert page.count("<td>$0.2500</td><td>$0.5000</td>") == 2
        assert "No model is configured" in page

    def test_a_price_that_nobody_knows_is_said(self, operator: Client, settings: Any) -> None:
        settings.OPENAI_BASE_URL, settings.OPENAI_MODEL = "http://box.lan:8080/v1", "my-own-model"
        assert "its calls count nowhere" in text(operator.get("/admin/budgets/"))
        settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY = None, "sk-secret-of-the-test"
        settings.OPENAI_MODEL = "gpt-4o-mini"
        page = text(operator.get("/admin/budgets/"))
        assert "<td>$0.15</td><td>$0.60</td>" in page
        assert "sk-secret" not in page

    @pytest.mark.parametrize(
        ("model", "url", "prices"),
        [
            ("claude-sonnet-4-5", "https://api.anthropic.com/v1", "<td>$3.00</td><td>$15.00</td>"),
            ("gpt-5-nano", None, "<td>$0.05</td><td>$0.40</td>"),
            ("small", None, "<td>$0.075</td><td>$0.0012</td>"),
        ],
    )
    def test_a_price_is_that_of_calls_as_they_are(
        self, operator: Client, settings: Any, model: str, url: str | None, prices: str
    ) -> None:
        """Not that of a call of a million tokens, and not rounded to cents."""
        settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = "sk-secret-of-the-test", url
        settings.OPENAI_MODEL = model
        settings.LLM_PRICES = {"small": (Decimal("0.075"), Decimal("0.0012"), Decimal(0))}
        settings.LLM_BUDGET_INCIDENT_USD = 0.004
        page = text(operator.get("/admin/budgets/"))
        assert prices in page
        assert "$0.004<" in page


@pytest.fixture
def chat() -> Iterator[Any]:
    """A server that takes messages, or refuses them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(server.answers)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server: Any = HTTPServer(("127.0.0.1", 0), Handler)
    server.bodies, server.answers = [], 200
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


class TestChannels:
    def test_a_test_goes_the_channels_own_road(self, operator: Client, settings: Any, chat: Any) -> None:
        settings.NOTIFY_URLS = [f"json://robin:hunter2secret@127.0.0.1:{chat.server_port}/room"]
        page = text(operator.get("/admin/channels/"))
        assert "json-1" in page
        assert "hunter2" not in page
        assert said(operator.post("/admin/channels/json-1/test/")) == ["json-1 took the test message."]
        [body] = chat.bodies
        assert "A test from homelab" in body
        event = Event.objects.get(kind="requested")
        assert (event.actor, event.text) == ("robin", "sent a test message to json-1")

    def test_what_came_back_is_said_without_the_address(
        self, operator: Client, settings: Any, chat: Any
    ) -> None:
        chat.answers = 403
        settings.NOTIFY_URLS = [f"json://robin:hunter2secret@127.0.0.1:{chat.server_port}/room"]
        [told] = said(operator.post("/admin/channels/json-1/test/"))
        assert told.startswith("json-1: the channel did not take the message: ")
        assert "403" in told
        assert "hunter2" not in told
        assert not Event.objects.filter(kind="notified").exists()

    def test_a_channel_that_is_not_there(self, operator: Client) -> None:
        assert operator.post("/admin/channels/json-1/test/").status_code == 404
        assert "Nobody is told" in text(operator.get("/admin/channels/"))

    def test_when_each_is_told_and_how_it_went(self, operator: Client, settings: Any) -> None:
        settings.NOTIFY_URLS = settings.ESCALATION_URLS = ["json://127.0.0.1:9"]
        for number, state in enumerate(("done", "dead")):
            Notification.objects.create(
                kind="update", dedup_key=f"{number}", channel="json-1", title="t", body="b", state=state
            )
        page = text(operator.get("/admin/channels/"))
        assert "Told at once" in page
        assert "1 given up" in page
        assert "when nobody answers a critical for 10 min" in page


class TestDoctor:
    def test_nothing_is_asked_before_a_person_says_so(
        self, operator: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor, "check_secrets", lambda: pytest.fail("it was asked"))
        page = text(operator.get("/admin/doctor/"))
        assert all(f'id="check-{name}"' in page for name in doctor.checks())

    @pytest.mark.parametrize(
        ("health", "word"),
        [
            (Health(True, "well"), "ok"),
            (Health(False, "gone <b>"), "fails"),
            (Health(None, "no"), "-"),
        ],
    )
    def test_a_check_answers_with_its_row(
        self, operator: Client, monkeypatch: pytest.MonkeyPatch, health: Health, word: str
    ) -> None:
        monkeypatch.setattr(doctor, "check_secrets", lambda: health)
        row = text(operator.post("/admin/doctor/secrets/"))
        assert f">{word}</span>" in row
        assert "<b>" not in row
        assert operator.post("/admin/doctor/nonsense/").status_code == 404

    def test_it_is_what_the_command_looks_at(self) -> None:
        assert list(doctor.checks()) == [name for name, _health in doctor.examine()]


def test_only_the_admin_may_compile_expressions(operator: Client) -> None:
    policy = operator.get("/admin/")["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "script-src 'self' 'unsafe-inline'" not in policy
    for path in ("/", "/login", "/api/docs"):
        assert "unsafe" not in operator.get(path)["Content-Security-Policy"]


def test_the_admin_loads_nothing_from_elsewhere(person: Person) -> None:
    root = person(superuser=True)
    for path in ("/admin/", "/admin/incidents/incident/", *(f"/admin/{page}/" for page in READS)):
        page = root.get(path).content.decode()
        assert 'src="http' not in page
        assert 'href="http' not in page
        assert "<style" not in page
