"""The installed Chromium through Playwright, as people use it: with a size and a colour scheme."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from .process import TOOLS, binary

Scheme = Literal["light", "dark"]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
# It refuses root with its sandbox, and shows our own pages only.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=binary(*TOOLS["chromium"][0]), args=list(ARGUMENTS)
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def window(browser: Browser, *, size: str = "desktop", scheme: Scheme = "light") -> Iterator[BrowserContext]:
    """A profile of its own; what its pages complain about fails the test that asks `complaints`."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        is_mobile=size == "phone",
        has_touch=size == "phone",
    )
    try:
        yield context
    finally:
        context.close()


def complaints(page: Page) -> list[str]:
    """What the page's console will say of errors from now on, the policy's refusals included."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said
