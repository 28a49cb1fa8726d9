"""A person at a browser: how each step looked is kept, and what went wrong behind the page is not overlooked.

`HOMELAB_SCREENSHOTS=directory` keeps a picture of every step, in light and in dark.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, Response, expect

SCREENSHOTS = "HOMELAB_SCREENSHOTS"
PATIENCE = 40_000.0  # milliseconds; pages ask each five seconds whether they changed
SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
ADMIN = "/admin/"  # chooses its colours when it is loaded
INSIDE = ("data", "blob", "about")  # what never leaves the browser
# A page that is left takes what it was still asking for along.
LEFT = "net::ERR_ABORTED"


class Walker:
    """Somebody with one size of screen, on one site. `page` is the tab that they look at."""

    def __init__(self, context: BrowserContext, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.context = context
        self.wrong: list[str] = []
        self._steps = 0
        context.set_default_timeout(PATIENCE)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.wrong.append(f"script: {error.error}"))
        context.on("request", self._asked)
        context.on("response", self._answered)
        context.on("requestfailed", self._failed)
        self.page = context.new_page()

    def new_tab(self) -> Page:
        """Go on in another tab; returns the one before, which stays open."""
        before, self.page = self.page, self.context.new_page()
        return before

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def sees(self, text: str, where: str = "main") -> Locator:
        """Text that is there, or comes by itself."""
        found = self.page.locator(where).get_by_text(text).filter(visible=True).first
        expect(found).to_be_visible(timeout=PATIENCE)
        return found

    def press(self, name: str, where: str = "main") -> None:
        self.page.locator(where).get_by_role("button", name=name).first.click()

    def stays(self) -> None:
        """From here on the tab is not loaded anew; `stayed` tells."""
        self.page.evaluate("window.stayed = true")

    def stayed(self) -> bool:
        return bool(self.page.evaluate("window.stayed === true"))

    def look(self, step: str) -> None:
        """The page as it is now: not wider than the screen, without errors, and in a picture."""
        width = self.page.evaluate("document.documentElement.scrollWidth")
        assert width <= self.page.viewport_size["width"], f"{step}: {self.page.url} is {width} pixels wide"
        assert self.wrong == [], f"{step}: {self.page.url}"
        if SCREENSHOTS in os.environ:
            self._keep(Path(os.environ[SCREENSHOTS]), step)

    def _keep(self, directory: Path, step: str) -> None:
        self._steps += 1
        directory.mkdir(parents=True, exist_ok=True)
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            if ADMIN in self.page.url:
                self.page.reload()
            name = f"{self.name}-{self._steps:02}-{step}-{scheme}.png"
            self.page.screenshot(path=directory / name, full_page=True)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.wrong.append(f"console: {message.text}")

    def _asked(self, request: Request) -> None:
        is_ours = request.url.startswith(f"{self.url}/")
        if urlsplit(request.url).scheme not in INSIDE and not is_ours:
            self.wrong.append(f"another host: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.status}: {response.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != LEFT:
            self.wrong.append(f"{request.failure}: {request.url}")
