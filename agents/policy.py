"""`authorize()`: the only door to a change. It gathers the facts, and the rules decide."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents import ledger, pauses, protection
from agents.actions import SPECS, TargetState
from agents.kinds import STARTS, ActionKind
from agents.models import Action
from agents.reading import ExpressionState
from agents.rules import BREAKER_AFTER, MODE_LABEL, Decision, Facts, decide
from incidents.models import Incident

HOUR = timedelta(hours=1)
# Questions that were answered with no or let pass; a question is withdrawn when its incident is closed.
ASKED = Q(status__in=(Action.Status.EXPIRED, Action.Status.REJECTED)) | Q(
    status=Action.Status.WITHDRAWN, expires_at__isnull=False, decided_at=None
)


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
    """The facts of a proposal: of the world as it was just read, and of our own rows.

    Without an incident (`agents.foresight`), what one says is taken to be in favour.
    """
    now = timezone.now()
    target = action.target
    incident = action.incident if action.incident_id else None
    begun = Action.objects.changes().exclude(pk=action.pk)
    of_target = begun.filter(target=target)
    last = of_target.repairs().order_by("-executing_at").first()
    kind = ActionKind(action.kind)
    pair = ledger.pair_of(action)
    return Facts(
        kind=kind,
        target=target.key,
        fits=SPECS[kind].fits(target),
        status=state.status_class,
        bound=incident is None or incident.episodes.filter(target=target).exists(),
        adopted=incident is not None and incident.adopted,
        mode=settings.REMEDIATION_MODE,
        kind_mode=settings.REMEDIATION_ACTIONS.get(kind),
        raised=ledger.raised(pair),
        lowered=ledger.lowered(pair),
        label=_label(state),
        protected=protection.reason(target, state) if kind.mends else None,
        paused=pauses.reason(target, now),
        stopped_by=state.stopped_by,
        asked_before=_asked_before(action, state),
        restarts_last_hour=of_target.filter(kind__in=STARTS, executing_at__gt=now - HOUR).count(),
        since_last=now - last.executing_at if last and last.executing_at else None,
        changes_last_hour=begun.filter(executing_at__gt=now - HOUR).count(),
        in_flight=_must_wait(action, begun),
        failures_in_a_row=_failures_in_a_row(),
        fault=fault,
        fault_reason=fault_reason,
        taken_over_by=_taken_over_by(incident) if incident else "",
        rejected=_rejected(action) if incident else None,
        asked_by=action.step.asked_by if action.step_id else "",
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


def _taken_over_by(incident: Incident) -> str:
    """Who has it now; it may have been taken over since the incident was read."""
    return Incident.objects.values_list("taken_over_by", flat=True).get(pk=incident.pk)


def _rejected(action: Action) -> str | None:
    """The words of a person's no to the same change in this incident, or None."""
    if action.step.asked_by:
        return None
    same = action.incident.actions.filter(kind=action.kind, target=action.target).exclude(pk=action.pk)
    no = same.filter(status=Action.Status.REJECTED).order_by("-id").first()
    if no is None:
        return None
    why = no.get_rejected_as_display() or no.result
    return f"{no.decided_by} rejected it" + (f": {why}" if why else "")


def _asked_before(action: Action, state: TargetState) -> bool:
    """Whether this very stop was asked about before: a person is asked once, unless a person wants it."""
    if state.stopped_at is None or (action.step_id and action.step.asked_by):
        return False
    asked = Action.objects.filter(ASKED, target=action.target).exclude(pk=action.pk)
    return asked.filter(target_state__stopped_at=state.stopped_at).exists()


def _failures_in_a_row() -> int:
    latest = list(Action.objects.outcomes().values_list("helped", flat=True)[:BREAKER_AFTER])
    return len(latest) if latest and not any(latest) else 0
