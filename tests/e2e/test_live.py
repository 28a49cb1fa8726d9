"""A page that keeps itself up to date: around what somebody types, opens and reads, and only while it can."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.simple_server import make_server

import pytest
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from playwright.sync_api import Browser, Page, expect

from incidents import services
from incidents.models import Incident, Verdict
from tests.agents.rows import an_action
from tests.incidents.rows import a_target, an_incident

from .browser import window
from .require import require
from .test_accessibility import browser
from .test_browser import Quiet, Server, signed_on, sso

__all__ = ["browser"]
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
PATIENCE = 20_000.0  # milliseconds; it asks each five seconds


class Site:
    """The server, what it was asked for, and whether it answers."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str]] = []
        self.away = False
        self.posted: queue.Queue[str] = queue.Queue()
        self.answering = threading.Event()  # cleared, it holds its answers to forms back
        self.answering.set()
        application = signed_on(get_wsgi_application())

        def watched(environ: dict[str, Any], start_response: Any) -> Any:
            def seen(status: str, headers: Any, *more: Any) -> Any:
                self.answers.append((environ["PATH_INFO"], status[:3]))
                return start_response(status, headers, *more)

            if self.away:
                seen("503 Away", [("Content-Type", "text/plain")])
                return [b"away"]
            if environ["REQUEST_METHOD"] == "POST":
                self.posted.put(environ["PATH_INFO"])
                self.answering.wait(PATIENCE / 1000)
            return application(environ, seen)

        self.server = make_server("127.0.0.1", 0, watched, Server, Quiet)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def asked(self, path: str) -> list[str]:
        return [status for asked, status in self.answers if asked == path]


@pytest.fixture
def server() -> Iterator[Site]:
    require("chromium")
    with override_settings(**sso()):
        made = Site()
        yield made
        made.server.shutdown()
        made.server.server_close()


@pytest.fixture
def page(server: Site, browser: Browser) -> Iterator[Page]:
    with window(browser) as context:
        context.set_default_timeout(PATIENCE)
        # Its own clock: five seconds are over when the test says so.
        made = context.new_page()
        made.clock.install()
        yield made


def opened(server: Site, page: Page) -> tuple[Incident, str]:
    """An incident whose page is open, and the page's path."""
    incident = an_incident()
    path = f"/incidents/{incident.pk}"
    page.goto(server.url + path)
    return incident, path


def turn(page: Page, path: str = "/") -> None:
    """Let five seconds pass, and wait for the answer that follows."""
    with page.expect_response(lambda answer: answer.url.endswith(path)):
        page.clock.run_for(6_000)


def test_what_changed_comes_and_what_did_not_is_not_sent_again(server: Site, page: Page) -> None:
    target = a_target()
    incident = an_incident(target=target, alert_name="Slow")
    page.goto(f"{server.url}/")
    turn(page)
    turn(page)
    assert server.asked("/")[-1] in ("304", "200")  # 200 when a minute ended just now
    services.close(incident, Verdict.VERIFIED, actor="proof", note="cleared")
    turn(page)
    expect(page.locator("#closed").get_by_text("Fixed, proven")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#open").get_by_text("Nothing is open.")).to_be_visible()


def test_what_somebody_types_opens_and_focuses_stays(server: Site, page: Page) -> None:
    action = an_action()
    path = f"/incidents/{action.incident_id}"
    page.goto(server.url + path)
    details = page.locator("main details").first
    details.evaluate("each => (each.open = true)")
    field = page.locator("main textarea").first
    field.evaluate("each => each.closest('details') && (each.closest('details').open = true)")
    field.fill("it was the cat")
    Incident.objects.filter(pk=action.incident_id).update(description="something new is known")
    services.acknowledge(action.incident, by="alice")
    turn(page, path)
    expect(page.locator("main").get_by_text("something new is known").first).to_be_visible(timeout=PATIENCE)
    assert field.input_value() == "it was the cat"
    assert field.evaluate("each => each === document.activeElement")
    assert details.evaluate("each => each.open")


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.innerText.split('\\n')[0]"))


def test_a_focused_button_stays_the_same_action(server: Site, page: Page) -> None:
    incident, path = opened(server, page)
    hand = page.get_by_role("button", name="I have it")
    hand.focus()
    services.acknowledge(incident, by="alice")
    turn(page, path)
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(0)
    assert focused(page) == "I have it"
    services.close(incident, Verdict.NOT_FIXED, actor="crew", note="nothing helps")
    turn(page, path)
    expect(page.locator("#top").get_by_role("button", name="Resolved by me")).to_be_visible()
    expect(hand).to_have_count(0)
    assert page.evaluate("document.activeElement === document.body")


def test_a_focused_button_whose_action_is_over_goes(server: Site, page: Page) -> None:
    incident, path = opened(server, page)
    button = page.get_by_role("button", name="Acknowledge")
    button.focus()
    services.acknowledge(incident, by="alice")
    turn(page, path)
    expect(button).to_have_count(0)
    assert page.evaluate("document.activeElement === document.body")


def test_what_was_typed_stays_in_its_form_whatever_comes_or_goes(server: Site, page: Page) -> None:
    incident, path = opened(server, page)
    cause = page.locator("#you form[action$=annotate] [name=cause]")
    cause.fill("it was the cat")
    page.locator("#you-escalate").evaluate("each => (each.open = true)")
    why = page.locator("#you-escalate [name=why]")
    why.fill("help me")
    why.blur()
    Incident.objects.filter(pk=incident.pk).update(root_cause="a full disk")
    services.acknowledge(incident, by="alice")
    turn(page, path)
    expect(page.locator("#you form[action$=rate]")).to_be_visible()
    assert cause.input_value() == "it was the cat"
    services.close(incident, Verdict.VERIFIED, actor="proof", note="cleared")
    turn(page, path)
    expect(page.locator("#standing")).to_contain_text("Fixed")
    assert why.input_value() == "help me"


def test_what_a_form_said_waits_for_its_reader(server: Site, page: Page) -> None:
    """Not for whichever tab asks next, and it stays there while the page changes."""
    incident, path = opened(server, page)
    page.locator("form[action$=acknowledge]").evaluate(
        "each => fetch(each.action, { method: 'POST', body: new FormData(each), redirect: 'manual' })"
    )
    said = page.get_by_text("Acknowledged.", exact=True)
    turn(page, path)
    expect(page.locator("form[action$=acknowledge]")).to_have_count(0)
    expect(said).to_have_count(0)
    page.reload()
    expect(said).to_be_visible()
    Incident.objects.filter(pk=incident.pk).update(description="something new is known")
    services.take_over(incident, by="alice")
    turn(page, path)
    expect(page.get_by_role("button", name="Let the crew go on")).to_be_visible()
    expect(said).to_be_visible()


def test_a_form_is_sent_once(server: Site, page: Page) -> None:
    page.goto(f"{server.url}/incidents/{an_incident().pk}")
    form = page.locator("form[action$=note]")
    page.locator("#you-note").evaluate("each => (each.open = true)")
    form.locator("button").press("Enter")  # held back: nothing is typed
    form.locator("[name=text]").fill("moved")
    form.locator("button").focus()
    server.answering.clear()
    page.keyboard.press("Enter")
    server.posted.get(timeout=PATIENCE / 1000)
    page.keyboard.press("Enter")
    server.answering.set()
    expect(page.get_by_text("Added to the story.")).to_be_visible(timeout=PATIENCE)
    assert server.posted.empty()
    page.locator("#you-note").evaluate("each => (each.open = true)")
    form.locator("[name=text]").fill("moved again")
    with page.expect_navigation():
        form.locator("button").click()
    assert server.posted.get_nowait().endswith("/note")


def test_a_lost_connection_is_said_and_that_it_is_back(server: Site, page: Page) -> None:
    page.goto(f"{server.url}/")
    turn(page)
    server.away = True
    turn(page)
    line = page.locator("#live")
    expect(line).to_contain_text("Not updated since", timeout=PATIENCE)
    server.away = False
    with page.expect_response(lambda answer: answer.ok or answer.status == 304):
        page.clock.run_for(60_000)
    expect(line).to_be_empty(timeout=PATIENCE)


def test_nobody_is_asked_while_nobody_looks(server: Site, page: Page) -> None:
    page.goto(f"{server.url}/")
    turn(page)
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    before = len(server.asked("/"))
    page.clock.run_for(120_000)
    assert len(server.asked("/")) == before
    page.evaluate("Object.defineProperty(document, 'hidden', { value: false, configurable: true })")
    with page.expect_response(lambda answer: answer.url.endswith("/")):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.clock.run_for(100)


def test_without_a_connection_a_page_of_its_own_is_shown(server: Site, page: Page) -> None:
    page.goto(f"{server.url}/")
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    kept = page.evaluate(
        "caches.keys().then((names) => caches.open(names[0])).then((cache) => cache.keys())"
        ".then((all) => all.map((request) => new URL(request.url).pathname))"
    )
    assert "/offline" in kept
    assert all(path == "/offline" or path.startswith("/static/") for path in kept)
    page.context.set_offline(True)
    page.goto(f"{server.url}/slo")
    expect(page.get_by_role("heading", name="No connection to homelab")).to_be_visible()
