"""Every own page with axe: nothing keeps out who uses a screen reader, a keyboard or weak eyes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Browser, Page

from agents import links, pauses
from agents.models import Action, Autonomy
from incidents import memory, problems
from incidents.models import Job, Verdict
from tests.agents.rows import an_action
from tests.incidents.rows import a_target, an_episode, an_incident

from .browser import SIZES, Scheme, chromium, complaints, window
from .require import require
from .test_browser import site

__all__ = ["site"]
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
GRAVE = {"serious", "critical"}
PAGES = (
    "/",
    "/connect",
    "/slo",
    "/incidents/{incident}",
    "/q/{link}",
    "/login",
    "/offline",
    "/no-such-page",
)


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    require("chromium")
    # Playwright's own loop runs in this thread, which Django takes for a reason to refuse its database.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with chromium() as made:
        yield made


def a_full_house(settings: Any) -> dict[str, Any]:
    """Rows for every part of the pages."""
    settings.PROMETHEUS_URL = "http://127.0.0.1:1"
    settings.NOTIFY_URLS = ["json://localhost/"]
    settings.LLM_BUDGET_DAILY_USD = 1.0
    now = timezone.now()
    Job.objects.create(
        name="health_check", last_finished_at=now, result={"errors": {"prometheus": "no answer"}}
    )
    target = a_target()
    action = an_action(target=target, touches="restarts the container")
    an_episode(action.incident, annotations={"runbook_url": "https://wiki.example/run"})
    for verdict in Verdict:
        for _ in range(3):
            ended = an_incident(verdict, seconds=90, target=target, closed_at=now, opened_at=now)
    approved = an_incident(Verdict.VERIFIED, target=target, closed_at=now)
    an_action(approved, status=Action.Status.DONE, by_person=True, helped=True)
    problems.notice(memory.remember(ended).pk)
    for _ in range(3):
        problems.notice(memory.remember(an_incident(Verdict.UNKNOWN, target=target, closed_at=now)).pk)
    Autonomy.objects.create(
        kind="restart_container",
        target_kind="docker",
        alert_name="ServiceDown",
        offered_at=now,
        offered_count=8,
    )
    pauses.pause(scope="*", until=now + timedelta(hours=1), by="kim", reason="holidays")
    return {"incident": action.incident_id, "link": links.sign(action.pk, "json-1")}


def grave(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for each in found
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_grave(
    site: str, browser: Browser, settings: Any, size: str, scheme: Scheme
) -> None:
    about = a_full_house(settings)
    with window(browser, size=size, scheme=scheme) as context:
        page = context.new_page()
        said = complaints(page)
        for path in PAGES:
            page.goto(site + path.format(**about))
            assert grave(page) == [], path
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= SIZES[size][0], f"{path} is wider than the screen"
        assert [each for each in said if "404" not in each] == []


def test_an_empty_install_is_as_good(site: str, browser: Browser) -> None:
    with window(browser, size="phone") as context:
        page = context.new_page()
        page.goto(f"{site}/")
        assert page.get_by_role("button", name="Send a test alert and follow it").is_visible()
        assert grave(page) == []


def test_axe_would_find_it(site: str, browser: Browser) -> None:
    """Or the tests above would show nothing."""
    with window(browser) as context:
        page = context.new_page()
        page.goto(f"{site}/slo")
        page.evaluate("document.querySelector('main').append(document.createElement('input'))")
        assert any("label" in each for each in grave(page))


def test_the_menu_of_a_phone_opens_and_closes_by_keyboard(site: str, browser: Browser) -> None:
    with window(browser, size="phone") as context:
        page = context.new_page()
        page.goto(f"{site}/")
        menu = page.get_by_role("button", name="Menu")
        link = page.get_by_role("link", name="Service levels")
        assert not link.is_visible()
        menu.focus()
        page.keyboard.press("Enter")
        assert link.is_visible()
        page.keyboard.press("Escape")
        assert not link.is_visible()
        assert menu.evaluate("button => button === document.activeElement")


def test_the_keyboard_skips_to_the_content(site: str, browser: Browser) -> None:
    with window(browser) as context:
        page = context.new_page()
        page.goto(f"{site}/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
