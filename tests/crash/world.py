"""What outlives a crash: a Docker engine whose one container has ended, a chat, and an Alertmanager."""

from __future__ import annotations

import json
from collections import Counter
from typing import Self

from tests.agents.alertmanager_api import active, grouped
from tests.storm.engine import Engine
from tests.storm.web import Answer, Asked, Server

HOST, NAME = "nas", "web"


class World:
    """`messages`: how often the chat took each title.

    POST /chat/503 makes the chat answer so from now on, and POST /listed/0 makes Alertmanager list nothing.
    """

    def __init__(self) -> None:
        self.engine = Engine(HOST, [NAME], calls=[])
        self.engine.crash(NAME)
        self.messages: Counter[str] = Counter()
        self._is = {"chat": 200, "listed": 1}
        self._alert = active("missed", labels={"alertname": "Missed", "severity": "warning"})
        self._server = Server(self._answer)
        self.url = self._server.url

    def __enter__(self) -> Self:
        self.engine.__enter__()
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()
        self.engine.__exit__()

    @property
    def restarts(self) -> int:
        return sum(call.path.endswith("/restart") for call in self.engine.calls)

    def _answer(self, asked: Asked) -> Answer:
        what, _, value = asked.path.strip("/").partition("/")
        if asked.method == "GET":
            return Answer.of(grouped([self._alert] if self._is["listed"] else []))
        if what == "v1":
            return Answer(500)  # a model that is away
        if what in self._is:
            self._is[what] = int(value)
            return Answer(200)
        if self._is["chat"] == 200:
            self.messages[json.loads(asked.body)["title"]] += 1
        return Answer(self._is["chat"])
