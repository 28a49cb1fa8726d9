"""Money: the budgets of a day, a month and an incident, and that no call goes beyond them.

Before a call its worst price is reserved, by one worker at a time; afterwards the real one takes its place.
What is reserved counts as spent, so however many workers ask at once, calls stay within a budget. Only a call
that is alone may go beyond, so that the last of the money can be used: never more than the cap and one call.
What a call may cost that was never heard of again stays reserved. What has no known price cannot be counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from agents.models import Guard, ModelCall
from agents.prices import price_usd
from incidents import notifications, rawinsert, rawsql
from incidents.models import Incident, Notification

NOTHING = Decimal(0)
WARN_AT = Decimal("0.8")


# By hand, for it is asked before each call, and Django takes longer to write it than the database to answer.
UNDER_WAY = "seconds IS NULL AND cost_usd IS NULL AND started_at > {}"
SUMS = f"""
SELECT SUM(CASE WHEN {UNDER_WAY} THEN 0 ELSE COALESCE(cost_usd, reserved_usd) END),
    SUM(CASE WHEN {UNDER_WAY} THEN reserved_usd END)
FROM agents_modelcall WHERE """  # noqa: S608 our own names
MICRO = Decimal("0.000001")  # of a dollar, as the columns keep
SINCE = "started_at >= {}"
OF_INCIDENT = """step_id IN (
    SELECT step.id FROM agents_step step JOIN agents_crewrun run ON run.id = step.run_id
    WHERE run.incident_id = {})"""


class NoMoney(Exception):
    """A call must not be made; the message names the budget, what is spent and the cap."""


class NotYet(NoMoney):
    """Other calls hold the rest of a budget. When they are over, there may be room."""


@dataclass(frozen=True)
class Used:
    """US dollars: `spent` by calls that are over or lost, `held` for those under way."""

    spent: Decimal
    held: Decimal


@dataclass(frozen=True)
class Budget:
    """At most `cap` US dollars for the calls since a time, or for an incident's.

    `period` tells budgets of one name apart.
    """

    name: str
    period: str
    cap: Decimal
    counts: datetime | Incident

    @property
    def incident(self) -> Incident | None:
        return self.counts if isinstance(self.counts, Incident) else None

    def used(self) -> Used:
        alive = lost_before()
        if isinstance(self.counts, Incident):
            [(spent, held)] = rawsql.rows(SUMS + OF_INCIDENT, alive, alive, self.counts.pk)
        else:
            [(spent, held)] = rawsql.rows(SUMS + SINCE, alive, alive, self.counts)
        return Used(_exact(spent), _exact(held))


def lost_before() -> datetime:
    """A call is under way until it has taken its seconds, or began before then: its worker must be dead."""
    return timezone.now() - timedelta(seconds=settings.LEASE_LIMIT_SECONDS)


def _exact(sum_: Decimal | float | None) -> Decimal:
    """SQLite adds dollars up as floats."""
    return NOTHING if sum_ is None else Decimal(str(sum_)).quantize(MICRO)


def budgets(incident: Incident | None = None) -> list[Budget]:
    """Those that have a cap. Without an incident (a replay) those of the calendar, by TZ."""
    day = midnight()
    found = [
        _budget("daily", f"{day:%Y-%m-%d}", settings.LLM_BUDGET_DAILY_USD, day),
        _budget("monthly", f"{day:%Y-%m}", settings.LLM_BUDGET_MONTHLY_USD, day.replace(day=1)),
    ]
    if incident is not None:
        found.append(_budget("incident's", f"#{incident.pk}", settings.LLM_BUDGET_INCIDENT_USD, incident))
    return [budget for budget in found if budget is not None]


def midnight() -> datetime:
    """When today began, by TZ."""
    now = datetime.now(ZoneInfo(settings.TIME_ZONE))
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _budget(name: str, period: str, cap: float | None, counts: datetime | Incident) -> Budget | None:
    return None if cap is None else Budget(name, period, Decimal(str(cap)), counts)


def spent_out() -> str | None:
    """Why no model that costs may be asked now, or None."""
    refusal = _refusal(_standings(None), NOTHING)
    return None if refusal is None or isinstance(refusal, NotYet) else str(refusal)


def _standings(incident: Incident | None) -> list[tuple[Budget, Used]]:
    return [(budget, budget.used()) for budget in budgets(incident)]


def _refusal(standings: Iterable[tuple[Budget, Used]], worst: Decimal) -> NoMoney | None:
    not_yet = None
    for budget, used in standings:
        told = f"{shown(used.spent)} of {shown(budget.cap)}"
        if used.spent >= budget.cap:
            return NoMoney(f"the {budget.name} budget is spent: {told}")
        if used.held and used.spent + used.held + worst > budget.cap:
            not_yet = NotYet(f"the rest of the {budget.name} budget is held for other calls: {told} spent")
    return not_yet


def reserve(call: ModelCall, incident: Incident | None, *, free: bool = False) -> bool:
    """Save the row of a call that is about to be made, with its reservation; NoMoney when it must not be.

    One commit with the renewed lease of its step; LeaseLost when another worker has that.
    Whether there may be something to `warn` of when it is over.
    """
    worst = call.reserved_usd or NOTHING
    standings: list[tuple[Budget, Used]] = []
    with transaction.atomic():
        if not free:
            Guard.lock(Guard.MONEY)
            standings = _standings(incident)
        refusal = _refusal(standings, worst)
        if refusal is None:
            if call.step is not None:
                call.step.renew()
            rawinsert.insert([call])
    if refusal is not None:
        if not isinstance(refusal, NotYet):
            warn(incident)
        raise refusal
    return any(used.spent + used.held + worst >= budget.cap * WARN_AT for budget, used in standings)


def warn(incident: Incident | None) -> None:
    """Tell people of each budget that is nearly spent, and of each that is: once, whoever finds out."""
    for budget, used in _standings(incident):
        if not budget.cap or used.spent < budget.cap * WARN_AT:
            continue
        over = used.spent >= budget.cap
        share = "100" if over else "80"
        told = f"{shown(used.spent)} of {shown(budget.cap)}"
        what = f"for incident {budget.incident.pk}" if budget.incident else f"for {budget.period}"
        notifications.tell_once(
            budget.incident,
            Notification.Kind.UPDATE,
            title=f"Model budget {what} {'is spent' if over else 'is at 80 %'}: {told}",
            body=_consequence(over=over),
            transition=f"budget:{budget.name}:{budget.period}:{budget.cap}:{share}",
        )


def _consequence(*, over: bool) -> str:
    below = "a fallback that is free, else the playbooks"
    if over:
        return f"Models that cost money are not asked any more. Who works now: {below}."
    return f"Once it is spent, models that cost money are not asked. Then works: {below}."


def shown(dollars: Decimal) -> str:
    """`$0.05`, `$0.0312`: cents, and what is smaller when there is any."""
    whole, _, part = f"{dollars:.4f}".rstrip("0").partition(".")
    return f"${whole}.{part.ljust(2, '0')}"


def cap_line(model: str, endpoint: str) -> str:
    """The caps in words for people, and that they cannot count what has no known price."""
    caps = {
        "a day": settings.LLM_BUDGET_DAILY_USD,
        "a month": settings.LLM_BUDGET_MONTHLY_USD,
        "an incident": settings.LLM_BUDGET_INCIDENT_USD,
    }
    told = [f"{shown(Decimal(str(cap)))} {period}" for period, cap in caps.items() if cap is not None]
    if not told:
        return "no cap"
    priced = price_usd(model=model, endpoint=endpoint, input_tokens=1, cached_tokens=0, output_tokens=1)
    unknown = "" if priced is not None else " (this model's price is not known, so its calls do not count)"
    return f"at most {', '.join(told)}{unknown}"
