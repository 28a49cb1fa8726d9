"""The admin in a real browser: its menus work under its policy, by keyboard and on a phone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from agents.models import Action, ToolCall
from incidents.access import create_token
from incidents.models import Incident, Verdict
from tests.agents.rows import an_action
from tests.incidents.rows import a_target, an_episode, an_incident

from .browser import SIZES, complaints, window
from .test_accessibility import browser, grave
from .test_browser import site

__all__ = ["browser", "site"]
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
LIST = "/admin/incidents/incident/"
PAGES = (
    "/admin/",
    LIST,
    f"{LIST}?q=ServiceDown",
    LIST + "{incident}/change/",
    "/admin/approvals/",
    "/admin/playbooks/",
    "/admin/tools/",
    "/admin/budgets/",
    "/admin/channels/",
    "/admin/doctor/",
    "/admin/incidents/target/{target}/change/",
    "/admin/incidents/token/",
    "/admin/incidents/token/add/",
    "/admin/agents/autonomy/",
    "/admin/agents/pause/add/",
    "/admin/agents/toolcall/{call}/change/",
    "/admin/auth/user/add/",
    "/admin/login/",
)
LOOKS = [("desktop", "light"), ("phone", "dark")]


def opened(page: Page, url: str) -> list[str]:
    """Go there; what the console says of errors meanwhile and afterwards."""
    page.set_default_timeout(20_000)
    said = complaints(page)
    page.goto(url)
    page.wait_for_function("window.Alpine !== undefined && !document.documentElement.hasAttribute('x-cloak')")
    return said


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_nothing_grave_keeps_anybody_out(
    site: str, browser: Browser, settings: Any, size: str, scheme: Any
) -> None:
    settings.NOTIFY_URLS = ["json://127.0.0.1:9"]
    action = an_action(touches="restarts the container", target_state={"image": "jellyfin:10"})
    an_episode(action.incident)
    for verdict in Verdict:
        an_incident(verdict, seconds=90, target=action.target)
    create_token(name="nas", role="ingest")
    rows = {
        "incident": action.incident_id,
        "target": action.target_id,
        "call": ToolCall.objects.get().pk,
    }
    with window(browser, size=size, scheme=scheme) as context:
        for path in PAGES:
            page = context.new_page()
            said = opened(page, site + path.format(**rows))
            assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], path
            assert grave(page) == [], path
            assert said == [], path
            page.close()


def test_many_incidents_at_once(site: str, browser: Browser) -> None:
    one, two = an_incident(), an_incident(acknowledged_at="2026-11-23T04:00:00Z", acknowledged_by="kim")
    with window(browser) as context:
        page = context.new_page()
        said = opened(page, site + LIST)
        for box in page.locator("input.action-select").all()[-2:]:
            box.check()
        page.locator("#changelist-actions select").select_option("mark_acknowledged")
        page.locator("#changelist-actions button[type=submit]").click()
        expect(page.get_by_text("1 acknowledged", exact=True)).to_be_visible()
        expect(page.get_by_text(f"{two} was acknowledged before by kim")).to_be_visible()
        assert said == []
    assert Incident.objects.get(pk=one.pk).acknowledged_by == "kim"  # the name that the proxy knows


def test_filters_are_chosen_by_keyboard(site: str, browser: Browser) -> None:
    target = a_target()
    shown, hidden = an_incident(target=target), an_incident(severity="warning")
    with window(browser) as context:
        page = context.new_page()
        said = opened(page, site + LIST)
        filters = page.locator("[role=button]", has_text="Filters")
        filters.focus()
        page.keyboard.press("Enter")
        page.locator("#changelist-filter").get_by_role("link", name="critical").press("Enter")
        page.wait_for_url("**severity_class=critical*")
        expect(page.get_by_text(str(shown))).to_be_visible()
        expect(page.get_by_text(str(hidden))).to_have_count(0)
        assert said == []


def test_the_doctor_asks_when_told(site: str, browser: Browser) -> None:
    with window(browser) as context:
        page = context.new_page()
        said = opened(page, f"{site}/admin/doctor/")
        row = page.locator("#check-secrets")
        expect(row).to_contain_text("not asked")
        row.get_by_role("button").click()
        expect(row).to_contain_text("read by their owner alone")
        expect(page.locator("#check-database")).to_contain_text("not asked")
        page.get_by_role("button", name="Run all").click()
        expect(page.locator("#check-database")).to_contain_text("sqlite")
        expect(page.locator("#check-traces")).to_contain_text("OTEL_EXPORTER_OTLP_ENDPOINT")
        assert said == []


def test_a_yes_from_a_phone(site: str, browser: Browser) -> None:
    action = an_action()
    with window(browser, size="phone") as context:
        page = context.new_page()
        said = opened(page, f"{site}/admin/")
        page.get_by_role("button", name="Side bar").locator("visible=true").click()
        page.locator("#nav-sidebar-apps").get_by_role("link", name="Approvals").click()
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_text(f"Approved: {action}.")).to_be_visible()
        expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
        assert said == []
    assert Action.objects.get().decided_by == "kim"
