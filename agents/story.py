"""An incident's events as a story: few chapters, each with what it came to and how long it took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, pairwise

from incidents.counts import PROVED
from incidents.models import Event, Incident, Notification
from incidents.queue import State

Kind = Event.Kind
ALERT, TRIAGE, DIAGNOSIS, DECISION = "alert", "triage", "diagnosis", "decision"
CHANGE, PROOF, TOLD, PERSON = "change", "proof", "told", "person"
WATCH = "watch"  # a proof that has not come to a verdict
TITLES = {
    ALERT: "Alert",
    TRIAGE: "Triage",
    DIAGNOSIS: "Diagnosis",
    DECISION: "Decision",
    CHANGE: "Change",
    PROOF: "Proof",
    WATCH: "Watch",
    TOLD: "Told",
    PERSON: "A person",
}
OF_KIND: dict[str, str] = {
    **dict.fromkeys(
        (Kind.OPENED, Kind.JOINED, Kind.CONTESTED, Kind.REOPENED, Kind.RESOLVED_BY_SENDER), ALERT
    ),
    **dict.fromkeys((Kind.PROPOSED, Kind.ALLOWED, Kind.ASKED, Kind.REFUSED), DECISION),
    **dict.fromkeys((Kind.APPROVED, Kind.REJECTED, Kind.EXPIRED, Kind.AUTONOMY), DECISION),
    **dict.fromkeys((Kind.EXECUTING, Kind.EXECUTED), CHANGE),
    **dict.fromkeys((Kind.PROOF, Kind.CLOSED), PROOF),
    **dict.fromkeys((Kind.NOTIFIED, Kind.RECURRED), TOLD),
}
OF_AGENT = {
    "monitor": TRIAGE,
    "analyst": DIAGNOSIS,
    "healer": DECISION,
    "communicator": TOLD,
    "postmortem": TOLD,
}
OF_ENDING = {"proof": PROOF, "monitor": TRIAGE, "homelab": PROOF}  # who gave the verdict, if no person did
# What a chapter came to is said by the last event of the first of these kinds that it has.
TELLING: tuple[frozenset[str], ...] = (
    frozenset({Kind.EXECUTED, Kind.APPROVED, Kind.REJECTED, Kind.EXPIRED, Kind.REFUSED, Kind.ALLOWED}),
    frozenset({Kind.ASKED, Kind.EXECUTING, Kind.REOPENED}),
    frozenset({Kind.AGENT, Kind.OPENED}),
)

# What people say in their own words, which is told in whole.
WORDS = frozenset({Kind.NOTED, Kind.ANNOTATED, Kind.RATED, Kind.REJECTED, Kind.ESCALATED})


@dataclass(frozen=True)
class Moment:
    """One thing that happened. `phase`: the chapter that it belongs in."""

    at: datetime
    kind: str
    title: str
    text: str
    actor: str
    phase: str
    key: str
    ends: bool = False

    @property
    def is_word(self) -> bool:
        return self.kind in WORDS


@dataclass
class Chapter:
    """Moments that belong together. `seconds`: from the end of the chapter before to its own, for an agent is
    heard when it is done.
    """

    phase: str
    moments: list[Moment] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_work(self) -> bool:
        """Whether somebody was at it all the time; else it came after so long."""
        return self.phase not in (ALERT, TOLD, PERSON)

    @property
    def look(self) -> str:
        """What it is drawn as: `watch` where nothing is claimed yet, `unproven` where nothing was shown."""
        if self.phase == ALERT and all(each.kind == Kind.RESOLVED_BY_SENDER for each in self.moments):
            return WATCH
        if self.phase != PROOF:
            return self.phase
        if not self.summary.ends:
            return WATCH
        return PROOF if self.summary.text.startswith(PROVED) else "unproven"

    @property
    def title(self) -> str:
        return TITLES[WATCH if self.phase == PROOF and not self.summary.ends else self.phase]

    @property
    def key(self) -> str:
        return self.moments[0].key

    @property
    def began_at(self) -> datetime:
        return self.moments[0].at

    @property
    def summary(self) -> Moment:
        """The moment that says what the chapter came to."""
        own = [each for each in self.moments if each.phase == self.phase] or self.moments
        if ending := [each for each in own if each.ends]:
            return ending[-1]
        for kinds in TELLING:
            if found := [each for each in own if each.kind in kinds]:
                return found[-1]
        return own[-1]

    @property
    def told(self) -> list[Moment]:
        """What is read without unfolding it: what it came to, and every word that a person said in it."""
        summary = self.summary
        return [each for each in self.moments if each is summary or each.is_word]


def of_events(events: Iterable[Event]) -> list[Moment]:
    return [
        Moment(
            at=event.at,
            kind=event.kind,
            title=event.get_kind_display(),
            text=event.text,
            actor=event.actor,
            phase=phase_of(event),
            key=f"event-{event.pk}",
            ends=_ends(event),
        )
        for event in events
    ]


def phase_of(event: Event) -> str:
    """The chapter of an event; empty where it belongs to whatever goes on. The rest is what people do."""
    if event.kind == Kind.AGENT:
        return OF_AGENT.get(event.actor, TRIAGE)
    if event.kind == Kind.STATUS:
        return OF_ENDING.get(event.actor, PERSON) if _ends(event) else ""
    return OF_KIND.get(event.kind, PERSON)


def _ends(event: Event) -> bool:
    return event.kind == Kind.STATUS and event.data.get("to") == Incident.Status.CLOSED


def of_messages(messages: Iterable[Notification]) -> list[Moment]:
    """Messages that were sent, or never will be; what several channels were told of is one moment."""
    told = [each for each in messages if each.sent_at is not None or each.state == State.DEAD]
    told.sort(key=lambda each: (*_message(each), each.pk))
    found = []
    for _, same in groupby(told, key=_message):
        rows = list(same)
        sent = [each.sent_at for each in rows if each.sent_at is not None]
        channels = ", ".join(dict.fromkeys(each.channel for each in rows))
        found.append(
            Moment(
                at=min(sent, default=rows[0].created_at),
                kind=Kind.NOTIFIED,
                title=rows[0].get_kind_display() if sent else "could not be told",
                text=rows[0].title,
                actor=channels,
                phase=TOLD,
                key=f"message-{rows[0].pk}",
            )
        )
    return found


def _message(row: Notification) -> tuple[str, str, bool]:
    """What it tells of, in what words, and whether it was told: who was not reached was told nothing."""
    return row.dedup_key.removesuffix(row.channel), row.title, row.sent_at is not None


def chapters(moments: Sequence[Moment]) -> list[Chapter]:
    """What follows each other of one phase is a chapter. What was told in the middle of one stays in it."""
    found: list[Chapter] = []
    for moment in sorted(moments, key=lambda each: each.at):
        if found and moment.phase in ("", found[-1].phase):
            found[-1].moments.append(moment)
        elif len(found) > 1 and found[-1].phase == TOLD and found[-2].phase == moment.phase:
            told = found.pop()
            found[-1].moments += [*told.moments, moment]
        else:
            found.append(Chapter(moment.phase or TRIAGE, [moment]))
    for before, chapter in pairwise(found):
        chapter.seconds = (chapter.moments[-1].at - before.moments[-1].at).total_seconds()
    return found
