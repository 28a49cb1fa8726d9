"""What the terminal says of an incident's events: each once, in the words of whoever did it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Json = dict[str, Any]
MAX_QUOTES = 3
# A change to one of these statuses repeats the event beside it: the question, the yes, the deed.
TOLD_ALREADY = {("healer", "awaiting_approval"), ("executor", "proving")}
VERBS = {
    "proposed": "proposes: ",
    "asked": "asks a person: ",
    "allowed": "allows ",
    "refused": "refuses: ",
    "resolved_by_sender": "the sender resolves it: ",
}


@dataclass(frozen=True)
class Line:
    actor: str
    text: str
    details: tuple[str, ...] = ()
    at: float | None = None


@dataclass
class Narration:
    """The events of one incident as lines, in their order. Remembers what was said."""

    seen: int = 0
    proposal: str = ""
    reason: str = ""

    def news(self, incident: Mapping[str, Any]) -> list[Json]:
        """The events that were not there before."""
        found = [event for event in incident["events"] or [] if event["id"] > self.seen]
        self.seen = max((event["id"] for event in found), default=self.seen)
        return found

    def lines(
        self, events: Sequence[Json], *, incident: Mapping[str, Any], runs: Sequence[Json]
    ) -> Iterator[Line]:
        for event in events:
            if _repeats(event):
                continue
            at = datetime.fromisoformat(event["at"]).timestamp()
            text, details = self._text(event), tuple(_details(event, runs))
            if event["kind"] == "agent" and event["actor"] == "communicator" and incident["notifications"]:
                text, details = _message(max(incident["notifications"], key=_id_of))
            yield Line(event["actor"], text, details, at)

    def _text(self, event: Json) -> str:
        kind, text = event["kind"], str(event["text"])
        if kind == "opened":
            text = f"opens incident #{event['incident']}: {text}"
        elif kind == "agent" and event["actor"] == "healer":
            self.reason = text
        elif kind == "proposed":
            # "restart container docker:h/x: the reason", and the reason was just told.
            self.proposal = text = text.removesuffix(f": {self.reason}")
        elif kind == "allowed":
            text = "it" if text == self.proposal else text
        elif self.proposal:
            text = text.removeprefix(f"{self.proposal}: ")
        return VERBS.get(kind, "") + text


def _repeats(event: Json) -> bool:
    to = event["data"].get("to")
    return event["kind"] == "status" and (to == "acting" or (event["actor"], to) in TOLD_ALREADY)


def _message(notification: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    nobody = notification["channel"] == "none"
    text = "would tell people, but NOTIFY_URLS is not set:" if nobody else "tells people:"
    return text, (quoted(notification["title"]),)


def _details(event: Json, runs: Sequence[Json]) -> Iterator[str]:
    if event["kind"] == "agent" and event["actor"] == "analyst":
        step = _step(runs, event["data"].get("step"))
        quotes = [claim["quote"] for claim in (step.get("output") or {}).get("claims", ()) if claim["found"]]
        if quotes:
            yield "quotes, checked: " + "  ".join(map(quoted, quotes[:MAX_QUOTES]))
        why = f" ({step['rung_reason']})" if step.get("rung_reason") else ""
        yield f"rung: {event['data'].get('rung') or 'unknown'}{why}"


def _id_of(row: Mapping[str, Any]) -> int:
    return int(row["id"])


def _step(runs: Sequence[Json], pk: object) -> Json:
    return next((step for run in runs for step in run["steps"] if step["id"] == pk), {})


def quoted(text: str) -> str:
    return f"“{text}”"
