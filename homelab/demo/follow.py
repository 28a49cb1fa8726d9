"""Watching one incident from outside, once a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings

from homelab.demo.client import DemoError, Json, Server
from homelab.demo.narration import Narration
from homelab.demo.terminal import Terminal

LOOK_SECONDS = 1.0
LAST_WORDS_SECONDS = 5.0
WAITS = {
    "approval": "waits for a person's yes",
    "proof": "waits for proof, which has to hold",
    "model": "waits for the model",
    None: "the crew works",
}


@dataclass
class Follower:
    """Tells what happens to an incident. `patience`: seconds without any news before it gives up."""

    server: Server
    terminal: Terminal
    incident: int
    narration: Narration = field(default_factory=Narration)

    @property
    def patience(self) -> float:
        return float(settings.PROOF_HOLD_SECONDS + settings.PROOF_TIMEOUT_SECONDS + 60)

    def until(
        self, there: Callable[[Json], bool], on_news: Callable[[Json, list[Json]], None] | None = None
    ) -> Json:
        """The incident once `there` holds. `on_news` is given each state with the events that led to it."""
        ends = time.monotonic() + self.patience
        while True:
            found, news = self.look()
            if there(found):
                return found
            if on_news is not None:
                on_news(found, news)
            if news:
                ends = time.monotonic() + self.patience
            if time.monotonic() > ends:
                page = self.server.page(self.incident)
                raise DemoError(f"Nothing happened for {self.patience:.0f} s; see {page}")
            self.terminal.waiting(WAITS.get(found["waiting_for"], "waits"))
            time.sleep(LOOK_SECONDS)

    def look(self) -> tuple[Json, list[Json]]:
        """The incident now, and the events that are new; these are told."""
        found = self.server.incident(self.incident)
        news = self.narration.news(found)
        analysed = any(event["actor"] == "analyst" for event in news)
        runs = self.server.runs(self.incident) if analysed else []
        for line in self.narration.lines(news, incident=found, runs=runs):
            self.terminal.tell(line.actor, line.text, line.details, at=line.at)
        return found, news

    def last_words(self) -> Json:
        """After the verdict: the message about it."""
        ends = time.monotonic() + LAST_WORDS_SECONDS
        found, _ = self.look()
        while not _told_of_the_end(found) and time.monotonic() < ends:
            time.sleep(LOOK_SECONDS / 2)
            found, _ = self.look()
        return found


def closed(incident: Json) -> bool:
    return incident["verdict"] is not None


def _told_of_the_end(incident: Json) -> bool:
    events = incident["events"]
    ended = max((event["id"] for event in events if event["data"].get("to") == "closed"), default=0)
    return any(event["actor"] == "communicator" and event["id"] > ended for event in events)
