"""What a postmortem is made of. What is not known is None; all texts are redacted, and untrusted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.story import Chapter


@dataclass(frozen=True)
class Summary:
    """A paragraph. `by`: the rung that wrote it, `model`, `fallback` or `playbooks` (a template, from the
    records). `why`: why no higher rung's words stand here.
    """

    text: str
    by: str
    why: str = ""
    written_at: datetime | None = None


@dataclass(frozen=True)
class Impact:
    """Who was hurt and for how long. `until` None: it goes on, as far as anybody knows; `seconds` are until
    now then. `until_by`: who says that it ended, `proof`, `person` or `sender`.
    """

    alert_name: str
    severity: str
    description: str
    alerts: int
    systems: tuple[str, ...]
    since: datetime
    until: datetime | None
    until_by: str | None
    seconds: float
    reopened: int


@dataclass(frozen=True)
class Span:
    """How long something took, in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Claim:
    """What the crew said, and what it rests on. `found`: code found the quote in that reading; else the claim
    is struck. `quote` is None for who may not see outputs of tools.
    """

    text: str
    tool: str | None
    call_id: str
    quote: str | None
    found: bool


@dataclass(frozen=True)
class Cause:
    """`text`: a person's word, else the crew's; None while nobody knows one. `crews`: what the crew had said,
    where that is another.
    """

    text: str | None
    by: str
    certainty: str
    crews: str | None
    rating: str | None
    rated_by: str
    note: str
    claims: tuple[Claim, ...]
    dropped: tuple[str, ...]

    @property
    def evidence(self) -> tuple[Claim, ...]:
        return tuple(claim for claim in self.claims if claim.found)

    @property
    def struck(self) -> tuple[Claim, ...]:
        return tuple(claim for claim in self.claims if not claim.found)


@dataclass(frozen=True)
class Change:
    """An action: who decided, and what the proof said of it. `helped` None: nobody knows."""

    id: int
    what: str
    status: str
    reason: str
    proposed_at: datetime
    decided_by: str
    by_person: bool
    decided_at: datetime | None
    decision: str
    began_at: datetime | None
    ended_at: datetime | None
    helped: bool | None
    result: str | None

    @property
    def decided(self) -> str | None:
        """`approved by alice`, `allowed by policy`; of what was not done only by whom that was decided. None:
        nobody decided.
        """
        if not self.decided_by:
            return None
        if self.began_at is None:
            return f"decided by {self.decided_by}"
        return f"approved by {self.decided_by}" if self.by_person else "allowed by policy"

    @property
    def waited_seconds(self) -> float | None:
        return None if self.decided_at is None else (self.decided_at - self.proposed_at).total_seconds()

    @property
    def took_seconds(self) -> float | None:
        if self.began_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.began_at).total_seconds()


@dataclass(frozen=True)
class Ending:
    """How it ended and why we know. `by`: who gave the verdict, None while there is none."""

    verdict: str | None
    standing: str
    by: str | None
    why: str
    note: str
    seen: str
    looks: int


@dataclass(frozen=True)
class Past:
    """An incident that the memory gave the crew."""

    incident: int | None
    alert_name: str
    cause: str | None
    by_person: bool
    note: str | None
    verdict: str | None
    why: tuple[str, ...]


@dataclass(frozen=True)
class FollowUp:
    """What a rule says is left to do. `code` names the rule."""

    code: str
    text: str


@dataclass(frozen=True)
class Postmortem:
    """All of it. `left_out`: events in the middle of a long timeline that are not in it."""

    incident: int
    title: str
    is_over: bool
    summary: Summary
    impact: Impact
    spans: tuple[Span, ...]
    timeline: tuple[Chapter, ...]
    left_out: int
    cause: Cause
    changes: tuple[Change, ...]
    ending: Ending
    remembered: tuple[Past, ...]
    runbooks: tuple[str, ...]
    cost: dict[str, Any]
    follow_ups: tuple[FollowUp, ...]
