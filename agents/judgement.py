"""From looks to a verdict: pure. Times are seconds of this machine's clock, but freshness is compared in
Prometheus's own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from agents.reading import ExpressionState
from incidents.models import Verdict

Begun = Literal["none", "done", "late", "failed", "unknown"]
# What a clearing means. Without knowing whether our action took place, nobody knows whose merit it is.
CLEARED_AFTER: dict[Begun, Verdict] = {
    "none": Verdict.CLEARED_BEFORE_ACTION,
    "done": Verdict.VERIFIED,
    "late": Verdict.CLEARED_BEFORE_ACTION,
    "failed": Verdict.CLEARED_BEFORE_ACTION,
    "unknown": Verdict.UNKNOWN,
}
# Looks come every few seconds. After a longer silence nobody knows whether it stayed clear.
MAX_GAP_SECONDS = 30.0
FIRING, CLEARED, UNKNOWN = ExpressionState.FIRING, ExpressionState.CLEARED, ExpressionState.UNKNOWN


@dataclass(frozen=True)
class Look:
    """One reading of all of an incident's alerts; `fresh` are the selectors that have samples of them.

    `firing`, `cleared`: the episodes that were seen to be so. `away`: Prometheus did not answer.
    """

    state: ExpressionState
    reason: str
    fresh: tuple[str, ...] = ()
    firing: tuple[int, ...] = ()
    cleared: tuple[int, ...] = ()
    away: bool = False


@dataclass(frozen=True)
class Progress:
    """A series of looks. `action`: what is known of the action that was begun before it."""

    action: Begun
    began_at: float
    timeout: float
    hold: float
    newer_than: float | None = None  # Prometheus clock
    must_be_fresh: tuple[str, ...] = ()
    cleared_since: float | None = None
    ended_since: float | None = None  # when the sender had resolved everything
    looks: int = 0
    looked_at: float | None = None
    last: str = ""

    @property
    def acted(self) -> bool:
        return self.action != "none"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Progress:
        return cls(**{**stored, "must_be_fresh": tuple(stored["must_be_fresh"])})


@dataclass(frozen=True)
class Judgement:
    progress: Progress
    verdict: Verdict | None
    note: str = ""


def judge(
    progress: Progress,
    look: Look,
    *,
    now: float,
    ended: bool,
    waiting: bool = False,
    began: float | None = None,
) -> Judgement:
    """What a look adds to a series. `ended`: the sender has resolved every alert. `waiting`: for a person,
    for the crew, or for what nobody acted on. `began`: when the look began, which may take a while.
    """
    if waiting:
        progress = replace(progress, began_at=now)
    if progress.looked_at is not None and (began or now) - progress.looked_at > MAX_GAP_SECONDS:
        progress = replace(progress, cleared_since=None)  # nobody looked: what was seen before holds no more
    seen = replace(
        progress, looks=progress.looks + 1, looked_at=now, last=f"{look.state.value}: {look.reason}"
    )
    seen = replace(seen, ended_since=(progress.ended_since or now) if ended else None)
    if look.state is CLEARED:
        return _judge_cleared(replace(seen, cleared_since=progress.cleared_since or now), look, now)
    relapsed = progress.cleared_since is not None
    seen = replace(seen, cleared_since=None)  # the hold window is unbroken or it is none
    if look.state is FIRING:
        return _judge_firing(seen, look, now, relapsed=relapsed and not waiting)
    return _judge_unknown(seen, look, now)


def _judge_cleared(seen: Progress, look: Look, now: float) -> Judgement:
    assert seen.cleared_since is not None
    if now - seen.cleared_since < seen.hold:
        return Judgement(seen, None)
    note = f"{look.reason}; held for {seen.hold:.0f} s over {seen.looks} looks"
    return Judgement(seen, CLEARED_AFTER[seen.action], note)


def _judge_firing(seen: Progress, look: Look, now: float, *, relapsed: bool) -> Judgement:
    if not seen.acted:
        # Nothing was done, so nothing failed: people were told, and we keep looking while somebody alerts.
        if seen.ended_since is None or now - seen.ended_since < seen.timeout:
            return Judgement(seen, None)
        note = f"the sender says resolved, its expression is still true: {look.reason}"
        return Judgement(seen, Verdict.UNKNOWN, note)
    if relapsed:
        return Judgement(
            seen, Verdict.RELAPSED, f"cleared, and fired again within the hold window: {look.reason}"
        )
    if now - seen.began_at < seen.timeout:
        return Judgement(seen, None)
    return Judgement(
        seen, Verdict.NOT_FIXED, f"still firing {seen.timeout:.0f} s after the action: {look.reason}"
    )


def _judge_unknown(seen: Progress, look: Look, now: float) -> Judgement:
    since = seen.began_at if seen.acted else seen.ended_since
    if since is None or now - since < seen.timeout:
        return Judgement(seen, None)
    return Judgement(seen, Verdict.UNKNOWN, f"no proof either way: {look.reason}")
