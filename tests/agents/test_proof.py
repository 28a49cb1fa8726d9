"""Verdicts from a series of looks: `judge` is pure, so every road to a verdict is a table."""

from __future__ import annotations

import pytest

from agents.judgement import Begun, Judgement, Look, Progress, judge
from agents.reading import ExpressionState as State
from incidents.models import Verdict

HOLD, TIMEOUT = 60.0, 180.0


def run(action: Begun, looks: list[tuple[float, State]], *, ended_at: float | None = None) -> Judgement:
    """The judgement after looks at (seconds since the beginning, state)."""
    judgement = Judgement(Progress(action=action, began_at=0, timeout=TIMEOUT, hold=HOLD), None)
    for at, state in looks:
        assert judgement.verdict is None, f"decided before {at} s"
        ended = ended_at is not None and at >= ended_at
        judgement = judge(judgement.progress, Look(state, "because"), now=at, ended=ended)
    return judgement


F, C, U = State.FIRING, State.CLEARED, State.UNKNOWN
CASES: list[tuple[str, Begun, list[tuple[float, State]], Verdict | None]] = [
    ("fixed and held", "done", [(1, F), (5, C), (35, C), (65, C)], Verdict.VERIFIED),
    ("the hold is not over", "done", [(5, C), (64, C)], None),
    ("fires again in the hold", "done", [(5, C), (30, F)], Verdict.RELAPSED),
    ("never clears", "done", [(5, F), (179, F), (180, F)], Verdict.NOT_FIXED),
    ("patience", "done", [(5, F), (179, F)], None),
    ("series gone", "done", [(5, U), (179, U), (180, U)], Verdict.UNKNOWN),
    ("a gap starts the hold anew", "done", [(5, C), (35, U), (66, C), (100, C)], None),
    ("a gap, then a whole hold", "done", [(5, C), (35, U), (66, C), (96, C), (126, C)], Verdict.VERIFIED),
    ("a late clearing may end its hold", "done", [(179, C), (200, C), (220, C), (239, C)], Verdict.VERIFIED),
    ("nobody looked for an hour", "done", [(5, C), (3605, C)], None),
    ("then a whole hold", "done", [(5, C), (3605, C), (3635, C), (3665, C)], Verdict.VERIFIED),
    ("clears by itself", "none", [(5, F), (600, C), (630, C), (660, C)], Verdict.CLEARED_BEFORE_ACTION),
    ("fires on and on, nothing was done", "none", [(5, F), (9999, F)], None),
    ("unknown while the sender says firing", "none", [(5, U), (9999, U)], None),
    (
        "the action failed, then it cleared",
        "failed",
        [(5, C), (35, C), (65, C)],
        Verdict.CLEARED_BEFORE_ACTION,
    ),
    ("the action failed and it fires", "failed", [(5, F), (180, F)], Verdict.NOT_FIXED),
    ("whose merit is unknown", "unknown", [(5, C), (35, C), (65, C)], Verdict.UNKNOWN),
]


@pytest.mark.parametrize(("name", "action", "looks", "verdict"), CASES, ids=[case[0] for case in CASES])
def test_verdicts(
    name: str, action: Begun, looks: list[tuple[float, State]], verdict: Verdict | None
) -> None:
    assert run(action, looks).verdict == verdict


def test_a_resolve_without_proof_ends_as_unknown_after_patience() -> None:
    assert run("none", [(5, U), (100, U), (279, U)], ended_at=100).verdict is None
    assert run("none", [(5, U), (100, U), (280, U)], ended_at=100).verdict == Verdict.UNKNOWN


def test_a_resolve_of_what_stays_true_ends_as_unknown_after_patience() -> None:
    assert run("none", [(5, F), (100, F), (279, F)], ended_at=100).verdict is None
    judgement = run("none", [(5, F), (100, F), (280, F)], ended_at=100)
    assert judgement.verdict == Verdict.UNKNOWN
    assert judgement.note.startswith("the sender says resolved, its expression is still true")


def test_a_look_that_takes_long_is_no_gap() -> None:
    first = judge(Progress("done", 0, TIMEOUT, HOLD), Look(C, "because"), now=5, ended=False)
    second = judge(first.progress, Look(C, "because"), now=50, ended=False, began=10)
    assert second.progress.cleared_since == 5


def test_a_resolve_from_the_sender_is_no_proof() -> None:
    assert run("done", [(5, F), (10, F)], ended_at=6).verdict is None


def test_progress_survives_its_json() -> None:
    progress = Progress(
        action="done",
        began_at=1.5,
        timeout=TIMEOUT,
        hold=HOLD,
        newer_than=2.5,
        must_be_fresh=("up",),
        looks=3,
    )
    assert Progress.from_json(progress.as_json()) == progress
