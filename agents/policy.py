"""`authorize()`: the only door to a change. Facts are gathered, then pure rules decide.

A rule *refuses*, or *asks* for a person's yes, or says nothing. An approval answers what asks; it never
opens what refuses, limits included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents import protection
from agents.actions import SPECS, TargetState
from agents.models import Action, Pause
from agents.reading import ExpressionState
from incidents.models import Target

Effect = Literal["allow", "ask", "refuse"]
HOUR = timedelta(hours=1)
MODE_LABEL = "homelab.remediation"
BREAKER_AFTER = 2
# Questions that were answered with no or let pass; a question is withdrawn when its incident is closed.
ASKED = Q(status__in=(Action.Status.EXPIRED, Action.Status.REJECTED)) | Q(
    status=Action.Status.WITHDRAWN, expires_at__isnull=False, decided_at=None
)


@dataclass(frozen=True)
class Reason:
    """Why not simply yes: a stable code, and words for a person."""

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

    target: str
    target_kind_fits: bool
    bound: bool
    adopted: bool
    mode: str
    label: str | None
    protected: str | None
    paused: str | None
    stopped_by: str | None
    frozen: bool
    asked_before: bool
    restarts_last_hour: int
    since_last: timedelta | None
    changes_last_hour: int
    in_flight: bool
    failures_in_a_row: int
    fault: ExpressionState
    fault_reason: str


Rule = Callable[[Facts], Reason | None]


def _refuse(code: str, text: str) -> Reason:
    return Reason("refuse", code, text)


def _ask(code: str, text: str) -> Reason:
    return Reason("ask", code, text)


def not_bound(facts: Facts) -> Reason | None:
    if facts.bound and facts.target_kind_fits:
        return None
    return _refuse("not_bound", f"{facts.target} is not what a firing alert of this incident names")


def adopted(facts: Facts) -> Reason | None:
    if not facts.adopted:
        return None
    return _refuse(
        "adopted", "it fired already when homelab first looked; such alerts are told, not acted on"
    )


def mode(facts: Facts) -> Reason | None:
    if facts.mode == "observe":
        return _refuse("observe", "REMEDIATION_MODE is observe")
    if facts.mode == "approve":
        return _ask("approve", "REMEDIATION_MODE is approve")
    return None


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
    if facts.stopped_by in (None, "crash"):
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
    return _ask("frozen", "somebody paused it") if facts.frozen else None


def restart_limit(facts: Facts) -> Reason | None:
    if facts.restarts_last_hour < settings.RESTARTS_PER_HOUR:
        return None
    return _refuse("restarts", f"{facts.restarts_last_hour} restarts of it within the hour, the limit")


def cooldown(facts: Facts) -> Reason | None:
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
    mode,
    label,
    protected,
    paused,
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


def authorize(
    action: Action,
    *,
    state: TargetState,
    fault: ExpressionState,
    fault_reason: str,
    approved: bool,
) -> Decision:
    """May this action be done now? `state` and `fault` were read a moment ago, outside any transaction."""
    return decide(gather(action, state=state, fault=fault, fault_reason=fault_reason), approved=approved)


def gather(action: Action, *, state: TargetState, fault: ExpressionState, fault_reason: str) -> Facts:
    """The facts of a proposal: of the world as it was just read, and of our own rows."""
    now = timezone.now()
    target, incident = action.target, action.incident
    begun = Action.objects.changes().exclude(pk=action.pk)
    last = begun.filter(target=target).order_by("-executing_at").first()
    return Facts(
        target=target.key,
        target_kind_fits=SPECS[action.kind].target_kind == target.kind and target.gone_at is None,
        bound=incident.episodes.filter(target=target).exists(),
        adopted=incident.adopted,
        mode=settings.REMEDIATION_MODE,
        label=_label(state),
        protected=protection.reason(target, state),
        paused=pause_reason(target, now),
        stopped_by=state.stopped_by,
        frozen=state.status_class == "paused",
        asked_before=_asked_before(action, state),
        restarts_last_hour=begun.filter(target=target, executing_at__gt=now - HOUR).count(),
        since_last=now - last.executing_at if last and last.executing_at else None,
        changes_last_hour=begun.filter(executing_at__gt=now - HOUR).count(),
        in_flight=_must_wait(action, begun),
        failures_in_a_row=_failures_in_a_row(),
        fault=fault,
        fault_reason=fault_reason,
    )


def _must_wait(action: Action, begun: QuerySet[Action]) -> bool:
    """Whether another change is under way on the host. Only the executor asks: it comes back when that is
    over, while a proposal that was refused for it would never be made again.
    """
    if action.status != Action.Status.APPROVED:
        return False
    return begun.filter(host=action.host, status=Action.Status.EXECUTING).exists()


def _label(state: TargetState) -> str | None:
    value = state.labels.get(MODE_LABEL)
    return value.strip().lower() if value is not None else None


def pause_reason(target: Target, now: datetime) -> str | None:
    """The words of a pause that covers this target, or None."""
    scopes = (target.key, f"host:{target.host}", Pause.EVERYTHING)
    still = Q(until=None) | Q(until__gt=now)
    pause = Pause.objects.filter(still, scope__in=scopes, lifted_at=None).order_by("-id").first()
    if pause is None:
        return None
    until = f"until {pause.until:%Y-%m-%d %H:%M} UTC" if pause.until else "until it is lifted"
    return f"{pause.scope} is paused by {pause.by} {until}" + (f": {pause.reason}" if pause.reason else "")


def _asked_before(action: Action, state: TargetState) -> bool:
    """Whether this very stop was asked about before: a person is asked once, unless a person wants it."""
    if state.stopped_at is None or action.step.asked_by:
        return False
    asked = Action.objects.filter(ASKED, target=action.target).exclude(pk=action.pk)
    return asked.filter(target_state__stopped_at=state.stopped_at).exists()


def _failures_in_a_row() -> int:
    latest = list(Action.objects.outcomes().values_list("helped", flat=True)[:BREAKER_AFTER])
    return len(latest) if latest and not any(latest) else 0
