"""An incident's page in a real browser: its plot comes by itself, fits a phone, and says what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from agents.models import Chart
from incidents.models import Incident, Verdict
from tests.agents.fake_prometheus import FakePrometheus, serving
from tests.incidents.rows import an_episode, an_incident

from .browser import SIZES, complaints, window
from .test_accessibility import browser, grave
from .test_browser import site

__all__ = ["browser", "site"]
pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
PATIENCE = 20_000.0  # milliseconds
START = 1_795_406_400.0
SIGNAL: dict[str, Any] = {
    "expression": 'up{job="web"} == 0',
    "measured": 'up{job="web"}',
    "threshold": 0.0,
    "side": 0,
    "start": START,
    "end": START + 600,
    "step": 5.0,
    "series": [['up{job="web"}', [*[1.0] * 40, *[None] * 3, *[0.0] * 40, *[1.0] * 37]]],
    "more": 0,
}


def an_ended_one() -> Incident:
    """Of which the points were kept."""
    began = datetime.fromtimestamp(START + 200, UTC)
    incident = an_incident(Verdict.VERIFIED, started_at=began, closed_at=began + timedelta(seconds=300))
    Chart.objects.create(incident=incident, state="done", points=SIGNAL)
    return incident


def opened(page: Page, url: str) -> list[str]:
    said = complaints(page)
    page.goto(url)
    return said


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_plot_comes_by_itself_and_fits(site: str, browser: Browser, size: str, scheme: Any) -> None:
    incident = an_ended_one()
    with window(browser, size=size, scheme=scheme) as context:
        page = context.new_page()
        said = opened(page, f"{site}/incidents/{incident.pk}")
        drawn = page.get_by_role("img", name='up{job="web"}')
        expect(drawn).to_be_visible(timeout=PATIENCE)
        width = drawn.evaluate("svg => svg.getBoundingClientRect().width")
        assert (
            0.95 < width / drawn.evaluate("svg => svg.viewBox.baseVal.width") <= 1.05
        )  # not scaled: legible
        lines = page.locator("svg.plot .line0")
        assert lines.evaluate("line => getComputedStyle(line).stroke") != "none"
        assert page.locator("ol.marks li").count() == page.locator("svg.plot .mark").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
        assert grave(page) == []
        assert said == []


@pytest.fixture
def prometheus(settings: Any) -> Iterator[FakePrometheus]:
    with serving(FakePrometheus(paths={"rules": {"groups": []}})) as fake:
        settings.PROMETHEUS_URL = fake.url
        yield fake


def test_why_there_is_none_is_said_in_its_place(
    site: str, browser: Browser, prometheus: FakePrometheus
) -> None:
    incident = an_incident()
    an_episode(incident, generator_url="http://prom/graph?g0.expr=up+%3D%3D+0")
    with window(browser) as context:
        page = context.new_page()
        opened(page, f"{site}/incidents/{incident.pk}")
        expect(page.locator("#plot")).to_contain_text("No plot: Prometheus has no samples", timeout=PATIENCE)


def test_without_scripts_the_plot_is_a_link_away(site: str, browser: Browser) -> None:
    incident = an_ended_one()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/incidents/{incident.pk}")
    page.get_by_role("link", name="Show the plot").click()
    expect(page.get_by_role("img", name='up{job="web"}')).to_be_visible(timeout=PATIENCE)
    context.close()
