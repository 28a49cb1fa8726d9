"""What the terminal says of an incident's events: each once, in the words of whoever did it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]
MAX_QUOTES = 3
# Where a status only repeats the event beside it.
REPEATED_BY = {"awaiting_approval", "acting"}
VERBS = {
    "proposed": "proposes: ",
    "asked": "asks a person: ",
    "allowed": "allows: ",
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
    kinds: set[str] = field(default_factory=set)

    def news(self, incident: Mapping[str, Any]) -> list[Json]:
        """The events that were not there before."""
        found = [event for event in incident["events"] or [] if event["id"] > self.seen]
        self.seen = max((event["id"] for event in found), default=self.seen)
        self.kinds |= {event["kind"] for event in found}
        return found

    def lines(
        self, events: Sequence[Json], *, incident: Mapping[str, Any], runs: Sequence[Json]
    ) -> Iterator[Line]:
        for event in events:
            if event["kind"] == "status" and event["data"].get("to") in REPEATED_BY:
                continue
            at = datetime.fromisoformat(event["at"]).timestamp()
            details = tuple(_details(event, incident, runs))
            yield Line(event["actor"], self._text(event), details, at)

    def _text(self, event: Json) -> str:
        kind, text = event["kind"], str(event["text"])
        if kind == "opened":
            text = f"opens incident #{event['incident']}: {text}"
        elif kind == "agent" and event["actor"] == "healer":
            self.reason = text
        elif kind == "proposed":
            # "restart container docker:h/x: the reason", and the reason was just told.
            self.proposal = text = text.removesuffix(f": {self.reason}")
        elif kind in ("asked", "allowed", "refused", "executed") and self.proposal:
            text = text.removeprefix(f"{self.proposal}: ")
        return VERBS.get(kind, "") + text


def _details(event: Json, incident: Mapping[str, Any], runs: Sequence[Json]) -> Iterator[str]:
    if event["kind"] != "agent":
        return
    if event["actor"] == "communicator" and incident["notifications"]:
        newest = max(incident["notifications"], key=_id_of)
        nobody = "  (to nobody: NOTIFY_URLS is not set)" if newest["channel"] == "none" else ""
        yield quoted(newest["title"]) + nobody
    if event["actor"] == "analyst":
        step = _step(runs, event["data"].get("step"))
        quotes = [claim["quote"] for claim in (step.get("output") or {}).get("claims", ()) if claim["found"]]
        if quotes:
            yield "checked quotes: " + "  ".join(map(quoted, quotes[:MAX_QUOTES]))
        why = f" ({step['rung_reason']})" if step.get("rung_reason") else ""
        yield f"rung: {event['data'].get('rung') or 'unknown'}{why}"


def _id_of(row: Mapping[str, Any]) -> int:
    return int(row["id"])


def _step(runs: Sequence[Json], pk: object) -> Json:
    return next((step for run in runs for step in run["steps"] if step["id"] == pk), {})


def quoted(text: str) -> str:
    return f"“{text}”"
