"""`authorize()`: every rule of the door, and that an approval opens only what asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.policy import Facts, decide
from agents.reading import ExpressionState

FINE = Facts(
    target="docker:local/web",
    target_kind_fits=True,
    bound=True,
    adopted=False,
    mode="auto",
    label=None,
    protected=None,
    paused=None,
    stopped_by="crash",
    frozen=False,
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
    ("not_bound", {"target_kind_fits": False}),
    ("adopted", {"adopted": True}),
    ("observe", {"mode": "observe"}),
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
    ("label", {"label": "approve"}),
    ("stopped", {"stopped_by": "person"}),
    ("stopped", {"stopped_by": "unknown"}),
    ("frozen", {"frozen": True}),
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
