"""What a server that speaks chat completions can do, found out by asking; remembered by each process.

The ways of asking, best first: tools, with a strict schema of the answer; tools; JSON mode, with the schemas
in the prompt; the prompt alone. A server that refuses one is asked in the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from agents.reasoners.rungs import Rung

REFUSALS = frozenset({400, 404, 422, 500, 501})
# What an error speaks of that refuses a way of asking, in the words of several servers.
FORM_WORDS = (
    "tool",
    "function",
    "strict",
    "schema",
    "response_format",
    "grammar",
    "json",
    "jinja",
    "template",
)
LENGTH_WORDS = (
    "context length",
    "context_length",
    "context size",
    "context window",
    "too long",
    "too many tokens",
)


class Mode(IntEnum):
    STRICT = 0
    TOOLS = 1
    JSON = 2
    PROMPT = 3


# The older name, which all but OpenAI's newer models take, and theirs.
CAPS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class Dialect:
    """A way of asking. `proved`: the server has answered to it; `calls_tools`: with a tool call.

    `takes_readings`: it has answered to what a tool had said, which some refuse that take the tools.
    """

    mode: Mode = Mode.STRICT
    temperature: bool = True  # some models take none but their own
    cap: str | None = CAPS[0]  # how it calls the most tokens of an answer; None: it takes no such bound
    tool_choice: bool = True
    proved: bool = False
    calls_tools: bool = False
    takes_readings: bool = False

    @property
    def words(self) -> str:
        return ("a strict schema", "tools", "JSON mode", "nothing but the prompt")[self.mode]

    @property
    def with_tools(self) -> bool:
        return self.mode <= Mode.TOOLS

    def simpler(self, status: int, text: str, *, readings: bool) -> Dialect | None:
        """The way to ask after a refusal; None when the error is not about the way of asking.

        `readings`: whether the request told what tools had said.
        """
        text = text.lower()
        if status not in REFUSALS:
            return None
        if too_long(text):  # some count the answer that might come, and say so
            return replace(self, cap=None) if self.cap and "completion" in text else None
        if self.cap and any(cap in text for cap in CAPS):
            return replace(self, cap=CAPS[1] if self.cap == CAPS[0] else None)
        if self.temperature and "temperature" in text:
            return replace(self, temperature=False)
        if self.tool_choice and ("tool_choice" in text or "tool choice" in text):
            return replace(self, tool_choice=False)
        # Without a word on it: a server that was never heard may mean anything by 400 or 500, one that
        # answered to this before is in trouble. 404 is first of all a wrong name.
        unclear = not any(word in text for word in FORM_WORDS)
        answered = self.takes_readings if readings else self.proved
        if unclear and (answered or status == 404):
            return None
        return self.lower()

    def lower(self) -> Dialect | None:
        if self.mode is Mode.PROMPT:
            return None
        return self.at(Mode(self.mode + 1))

    def at(self, mode: Mode) -> Dialect:
        """Another way, to which the server has not answered yet."""
        return replace(self, mode=mode, proved=False, takes_readings=False)


def too_long(text: str) -> bool:
    """Whether an error says that the request does not fit into the model's context."""
    return any(word in text.lower() for word in LENGTH_WORDS)


_known: dict[tuple[str, str], Dialect] = {}


def of(rung: Rung) -> Dialect:
    return _known.get((rung.base_url, rung.model), Dialect())


def keep(rung: Rung, dialect: Dialect) -> None:
    _known[rung.base_url, rung.model] = dialect


def forget() -> None:
    """For tests: every server is new again."""
    _known.clear()
