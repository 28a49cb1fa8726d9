"""What `authorize()` decides by: pure rules over facts.

A rule *refuses*, or *asks* for a person's yes, or says nothing. An approval answers what asks; it never
opens what refuses, limits included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from django.conf import settings

from agents.actions import StatusClass
from agents.kinds import STARTS, ActionKind
from agents.reading import ExpressionState

Effect = Literal["allow", "ask", "refuse"]
MODE_LABEL = "homelab.remediation"
BREAKER_AFTER = 2
# The kinds that the owner must have named to go unasked: the code of the question, and its words.
GRAVE = {
    ActionKind.STOP_CONTAINER: ("stops", "a stop"),
    ActionKind.CREATE_SILENCE: ("silences", "a silence"),
    ActionKind.RUN_MAINTENANCE: ("maintains", "maintenance"),
}


@dataclass(frozen=True)
class Reason:
    """Why not simply yes, or why yes without asking: a stable code, and words for a person."""

    effect: Effect
    code: str
    text: str


@dataclass(frozen=True)
class Decision:
    """`allow` only without any reason against it."""

    effect: Effect
    reasons: tuple[Reason, ...] = ()

    @property
    def text(self) -> str:
        return "; ".join(reason.text for reason in self.reasons if reason.effect == self.effect)

    def as_json(self) -> list[dict[str, str]]:
        return [{"effect": each.effect, "code": each.code, "text": each.text} for each in self.reasons]


@dataclass(frozen=True)
class Facts:
    """Everything the rules look at, gathered once. Counts are of begun actions, whatever came of them."""

    kind: ActionKind
    target: str
    fits: bool
    status: StatusClass
    bound: bool
    adopted: bool
    mode: str
    kind_mode: str | None
    raised: str | None
    lowered: str | None
    label: str | None
    protected: str | None
    paused: str | None
    stopped_by: str | None
    asked_before: bool
    restarts_last_hour: int
    since_last: timedelta | None
    changes_last_hour: int
    in_flight: bool
    failures_in_a_row: int
    fault: ExpressionState
    fault_reason: str
    taken_over_by: str = ""
    rejected: str | None = None
    asked_by: str = ""


Rule = Callable[[Facts], Reason | None]


def _refuse(code: str, text: str) -> Reason:
    return Reason("refuse", code, text)


def _ask(code: str, text: str) -> Reason:
    return Reason("ask", code, text)


def not_bound(facts: Facts) -> Reason | None:
    if not facts.fits:
        return _refuse("not_for_it", f"{facts.kind.label} {facts.target}: there is no such change of it here")
    if facts.bound:
        return None
    return _refuse("not_bound", f"{facts.target} is not what a firing alert of this incident names")


def adopted(facts: Facts) -> Reason | None:
    if not facts.adopted:
        return None
    return _refuse(
        "adopted", "it fired already when homelab first looked; such alerts are told, not acted on"
    )


def mode(facts: Facts) -> Reason | None:
    """A person may have said yes ahead for such a change; what went wrong or recurs asks in any mode."""
    if facts.mode == "observe":
        return _refuse("observe", "REMEDIATION_MODE is observe")
    if facts.raised:
        return Reason("allow", "raised", facts.raised)
    if facts.mode == "approve":
        return _ask("approve", "REMEDIATION_MODE is approve")
    return _ask("lowered", facts.lowered) if facts.lowered else None


def taken_over(facts: Facts) -> Reason | None:
    return _refuse("taken_over", f"{facts.taken_over_by} has it") if facts.taken_over_by else None


def rejected(facts: Facts) -> Reason | None:
    """A no ends a proposal for its incident, unless a person wants it proposed again."""
    return _refuse("rejected", facts.rejected) if facts.rejected else None


def kind_mode(facts: Facts) -> Reason | None:
    """The owner's word on a kind of change narrows the mode; `auto` widens nothing."""
    if facts.kind_mode == "off":
        return _refuse("kind_off", f"REMEDIATION_ACTIONS has {facts.kind}=off")
    if facts.kind_mode == "approve":
        return _ask("kind_approve", f"REMEDIATION_ACTIONS has {facts.kind}=approve")
    return None


def grave(facts: Facts) -> Reason | None:
    """A stop takes a service away, a silence hides a fault, maintenance may do anything: a log line that
    misleads a model must not be enough for them, so the mode alone does not let them go unasked, nor does
    any success.
    """
    if facts.kind not in GRAVE or facts.kind_mode == "auto":
        return None
    code, what = GRAVE[facts.kind]
    return _ask(code, f"{what} is asked about unless REMEDIATION_ACTIONS has {facts.kind}=auto")


def nothing_to_do(facts: Facts) -> Reason | None:
    """A start of what runs and a stop of what stands would be done, and mean nothing."""
    if facts.kind == ActionKind.START_CONTAINER and facts.status == "running":
        return _refuse("runs", "it runs already")
    if facts.kind == ActionKind.START_CONTAINER and facts.status == "paused":
        return _refuse("runs", "it is paused, and a start does not undo that")
    if facts.kind == ActionKind.STOP_CONTAINER and facts.status == "stopped":
        return _refuse("stands", "it is stopped already")
    return None


def asked_again(facts: Facts) -> Reason | None:
    """Who wants to be asked again has not said yes, whatever goes unasked otherwise."""
    return _ask("asked_again", f"{facts.asked_by} wanted to be asked again") if facts.asked_by else None


def label(facts: Facts) -> Reason | None:
    """The owner's label on the target narrows the mode; `auto` widens nothing."""
    if facts.label in (None, "auto"):
        return None
    if facts.label == "approve":
        return _ask("label", f"{facts.target} is labelled {MODE_LABEL}=approve")
    return _refuse("label", f"{facts.target} is labelled {MODE_LABEL}={facts.label}")


def protected(facts: Facts) -> Reason | None:
    return _refuse("protected", facts.protected) if facts.protected else None


def paused(facts: Facts) -> Reason | None:
    return _refuse("paused", facts.paused) if facts.paused else None


def stopped_by_hand(facts: Facts) -> Reason | None:
    if facts.stopped_by in (None, "crash") or facts.kind == ActionKind.STOP_CONTAINER:
        return None
    if facts.asked_before:
        return _refuse(
            "stopped", "it was stopped, and the question whether to start it was answered or let pass"
        )
    if facts.stopped_by == "person":
        return _ask("stopped", "somebody stopped it by hand")
    return _ask("stopped", "the engine no longer knows whether somebody stopped it by hand")


def frozen(facts: Facts) -> Reason | None:
    """`docker pause` is a person's hand, too, and a restart would undo it."""
    return _ask("frozen", "somebody paused it") if facts.status == "paused" else None


def restart_limit(facts: Facts) -> Reason | None:
    if facts.kind not in STARTS or facts.restarts_last_hour < settings.RESTARTS_PER_HOUR:
        return None
    return _refuse(
        "restarts", f"{facts.restarts_last_hour} restarts and starts of it within the hour, the limit"
    )


def cooldown(facts: Facts) -> Reason | None:
    """A target rests after a change. A silence changes none, and is wanted when a change did not help."""
    if not facts.kind.mends:
        return None
    if facts.since_last is None or facts.since_last.total_seconds() >= settings.COOLDOWN_SECONDS:
        return None
    ago = int(facts.since_last.total_seconds())
    return _refuse("cooldown", f"changed {ago} s ago; {settings.COOLDOWN_SECONDS} s of rest between changes")


def change_limit(facts: Facts) -> Reason | None:
    if facts.changes_last_hour < settings.CHANGES_PER_HOUR:
        return None
    return _refuse("changes", f"{facts.changes_last_hour} changes within the hour, the limit")


def in_flight(facts: Facts) -> Reason | None:
    return _refuse("in_flight", "another change on this host is under way") if facts.in_flight else None


def breaker(facts: Facts) -> Reason | None:
    if facts.failures_in_a_row < BREAKER_AFTER:
        return None
    return _ask("breaker", f"the last {BREAKER_AFTER} actions did not help")


def fault_present(facts: Facts) -> Reason | None:
    if facts.fault is ExpressionState.CLEARED:
        return _refuse("cleared", f"the fault is gone: {facts.fault_reason}")
    if facts.fault is ExpressionState.UNKNOWN:
        return _ask("no_proof", f"proof unavailable: {facts.fault_reason}")
    return None


RULES: tuple[Rule, ...] = (
    not_bound,
    adopted,
    taken_over,
    rejected,
    asked_again,
    mode,
    kind_mode,
    grave,
    label,
    protected,
    paused,
    nothing_to_do,
    stopped_by_hand,
    frozen,
    restart_limit,
    cooldown,
    change_limit,
    in_flight,
    breaker,
    fault_present,
)


def decide(facts: Facts, *, approved: bool) -> Decision:
    """The rules' verdict. Pure."""
    reasons = tuple(reason for rule in RULES if (reason := rule(facts)) is not None)
    if any(reason.effect == "refuse" for reason in reasons):
        return Decision("refuse", reasons)
    if any(reason.effect == "ask" for reason in reasons) and not approved:
        return Decision("ask", reasons)
    return Decision("allow", reasons)
