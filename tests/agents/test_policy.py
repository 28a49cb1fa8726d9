"""`authorize()`: every rule of the door, and that an approval opens only what asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.kinds import ActionKind
from agents.reading import ExpressionState
from agents.rules import Facts, decide

FINE = Facts(
    kind=ActionKind.RESTART_CONTAINER,
    target="docker:local/web",
    fits=True,
    status="stopped",
    bound=True,
    adopted=False,
    mode="auto",
    kind_mode=None,
    raised=None,
    lowered=None,
    label=None,
    protected=None,
    paused=None,
    stopped_by="crash",
    asked_before=False,
    restarts_last_hour=0,
    since_last=None,
    changes_last_hour=0,
    in_flight=False,
    failures_in_a_row=0,
    fault=ExpressionState.FIRING,
    fault_reason="the expression is true",
)
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("not_bound", {"bound": False}),
    ("not_for_it", {"fits": False}),
    ("adopted", {"adopted": True}),
    ("observe", {"mode": "observe"}),
    ("kind_off", {"kind_mode": "off"}),
    ("label", {"label": "off"}),
    ("label", {"label": "of"}),  # a label that cannot be read is the owner's no
    ("protected", {"protected": "docker:local/web is a name server"}),
    ("paused", {"paused": "* is paused by alice"}),
    ("stopped", {"stopped_by": "person", "asked_before": True}),
    ("restarts", {"restarts_last_hour": 2}),
    ("cooldown", {"since_last": timedelta(minutes=14)}),
    ("changes", {"changes_last_hour": 6}),
    ("in_flight", {"in_flight": True}),
    ("cleared", {"fault": ExpressionState.CLEARED}),
]
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("approve", {"mode": "approve"}),
    ("lowered", {"lowered": "it asks again: it did not help"}),
    ("kind_approve", {"kind_mode": "approve"}),
    ("label", {"label": "approve"}),
    ("stopped", {"stopped_by": "person"}),
    ("stopped", {"stopped_by": "unknown"}),
    ("frozen", {"status": "paused"}),
    ("breaker", {"failures_in_a_row": 2}),
    ("no_proof", {"fault": ExpressionState.UNKNOWN}),
]


def test_nothing_in_the_way_is_a_yes() -> None:
    assert decide(FINE, approved=False).effect == "allow"
    assert decide(replace(FINE, label="auto"), approved=False).effect == "allow"
    assert decide(replace(FINE, since_last=timedelta(minutes=15)), approved=False).effect == "allow"


@pytest.mark.parametrize(("code", "facts"), REFUSED)
def test_what_refuses_is_not_opened_by_an_approval(code: str, facts: dict[str, Any]) -> None:
    for approved in (False, True):
        decision = decide(replace(FINE, **facts), approved=approved)
        assert decision.effect == "refuse"
        assert code in [reason.code for reason in decision.reasons]


@pytest.mark.parametrize(("code", "facts"), ASKED)
def test_what_asks_is_opened_by_an_approval(code: str, facts: dict[str, Any]) -> None:
    decision = decide(replace(FINE, **facts), approved=False)
    assert decision.effect == "ask"
    assert [reason.code for reason in decision.reasons] == [code]
    assert decide(replace(FINE, **facts), approved=True).effect == "allow"


def test_the_label_auto_does_not_raise_the_ceiling() -> None:
    assert decide(replace(FINE, mode="approve", label="auto"), approved=False).effect == "ask"
    assert decide(replace(FINE, mode="observe", label="auto"), approved=True).effect == "refuse"


@given(
    refusals=st.sets(st.sampled_from(range(len(REFUSED))), min_size=1),
    asks=st.sets(st.sampled_from(range(len(ASKED)))),
    approved=st.booleans(),
)
def test_one_refusal_among_anything_else_refuses(refusals: set[int], asks: set[int], approved: bool) -> None:
    facts = FINE
    for index in asks:
        facts = replace(facts, **ASKED[index][1])
    for index in refusals:
        facts = replace(facts, **REFUSED[index][1])
    assert decide(facts, approved=approved).effect == "refuse"


def test_all_reasons_are_told_not_only_the_first() -> None:
    facts = replace(FINE, mode="observe", changes_last_hour=6, label="off")
    assert {reason.code for reason in decide(facts, approved=False).reasons} == {
        "observe",
        "changes",
        "label",
    }


# --- every kind of change on every state -----------------------------------------------------------

R, S, X, M, N = (
    ActionKind.RESTART_CONTAINER,
    ActionKind.START_CONTAINER,
    ActionKind.STOP_CONTAINER,
    ActionKind.RUN_MAINTENANCE,
    ActionKind.CREATE_SILENCE,
)
STATES: dict[str, dict[str, Any]] = {
    "running": {"status": "running", "stopped_by": None},
    "crashed": {"status": "stopped", "stopped_by": "crash"},
    "stopped": {"status": "stopped", "stopped_by": "person"},
    "unknown": {"status": "stopped", "stopped_by": "unknown"},
    "paused": {"status": "paused", "stopped_by": None},
    "other": {"status": "other", "stopped_by": None},
}
# In `auto`: what is said of a kind on a state, and by which rule.
TABLE: dict[tuple[ActionKind, str], str] = {
    (R, "running"): "allow",
    (R, "crashed"): "allow",
    (R, "stopped"): "ask stopped",
    (R, "unknown"): "ask stopped",
    (R, "paused"): "ask frozen",
    (S, "running"): "refuse runs",
    (S, "crashed"): "allow",
    (S, "stopped"): "ask stopped",
    (S, "unknown"): "ask stopped",
    (S, "paused"): "refuse runs",
    (X, "running"): "ask stops",
    (X, "crashed"): "refuse stands",
    (X, "stopped"): "refuse stands",
    (X, "unknown"): "refuse stands",
    (X, "paused"): "ask stops",
    (M, "running"): "ask maintains",
    (M, "crashed"): "ask maintains",
    (M, "stopped"): "ask stopped",
    (M, "paused"): "ask frozen",
    (M, "other"): "ask maintains",
    (N, "other"): "ask silences",
}


@pytest.mark.parametrize(("kind", "state"), TABLE)
def test_a_kind_of_change_on_a_state(kind: ActionKind, state: str) -> None:
    decision = decide(replace(FINE, kind=kind, **STATES[state]), approved=False)
    effect, _, code = TABLE[kind, state].partition(" ")
    assert decision.effect == effect
    assert code in ["", *(reason.code for reason in decision.reasons)]


@given(
    kind=st.sampled_from(list(ActionKind)),
    state=st.sampled_from(list(STATES)),
    mode=st.sampled_from(["observe", "approve", "auto"]),
    kind_mode=st.sampled_from([None, "off", "approve", "auto"]),
    label=st.sampled_from([None, "off", "approve", "auto"]),
    raised=st.sampled_from([None, "alice said so"]),
    protected=st.sampled_from([None, "it is a name server"]),
    approved=st.booleans(),
)
def test_whatever_comes_together_the_promises_hold(
    kind: ActionKind, state: str, approved: bool, **facts: Any
) -> None:
    decision = decide(replace(FINE, kind=kind, **STATES[state], **facts), approved=approved)
    off = "off" in (facts["kind_mode"], facts["label"])
    if facts["mode"] == "observe" or off or facts["protected"]:
        assert decision.effect == "refuse"
    if decision.effect == "allow" and not approved:
        assert facts["mode"] == "auto" or facts["raised"]
        assert "approve" not in (facts["kind_mode"], facts["label"])
        assert STATES[state]["stopped_by"] not in ("person", "unknown")
        assert kind not in (X, M, N) or facts["kind_mode"] == "auto"


@pytest.mark.parametrize("kind", [X, M, N])
def test_what_is_grave_goes_unasked_only_where_the_owner_declared_it(kind: ActionKind) -> None:
    running = replace(FINE, kind=kind, **STATES["running"])
    assert decide(running, approved=True).effect == "allow"
    assert decide(replace(running, kind_mode="auto"), approved=False).effect == "allow"
    assert decide(replace(running, kind_mode="auto", mode="approve"), approved=False).effect == "ask"


def test_a_kind_that_is_narrowed_is_narrowed_alone() -> None:
    for kind_mode, effect, code in (("off", "refuse", "kind_off"), ("approve", "ask", "kind_approve")):
        decision = decide(replace(FINE, kind_mode=kind_mode), approved=False)
        assert (decision.effect, [reason.code for reason in decision.reasons]) == (effect, [code])
    assert decide(replace(FINE, kind_mode="auto", mode="approve"), approved=False).effect == "ask"


def test_limits_of_restarts_and_of_rest_are_for_what_changes_the_target() -> None:
    tired = replace(FINE, restarts_last_hour=9, since_last=timedelta(seconds=5))
    codes = {
        kind: {reason.code for reason in decide(replace(tired, kind=kind), approved=True).reasons}
        for kind in ActionKind
    }
    assert all(codes[kind] >= {"restarts", "cooldown"} for kind in (R, S))
    assert "cooldown" in codes[M] & codes[X]
    assert "restarts" not in codes[M] | codes[X]
    assert not codes[N] & {"restarts", "cooldown"}
    busy = replace(FINE, changes_last_hour=6)
    assert all(decide(replace(busy, kind=kind), approved=True).effect == "refuse" for kind in ActionKind)
