"""Autonomy is earned, offered, raised by a person, and lost by one failure.

A *pair* is a kind of change for an alert on a kind of target. What its changes came to is counted from the
actions, since it was last lowered; a row (`Autonomy`) says what people decided and what took it back.

In `approve` a raised pair is a yes given ahead; in `auto` a lowered pair asks. Whoever changes a pair, or
writes an outcome of it, has its row locked until their transaction ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from agents.actions import SPECS
from agents.models import Action, Autonomy
from agents.rules import GRAVE
from incidents import events, notifications, problems
from incidents.models import Event, Incident, Notification, Verdict
from incidents.problems import RECURS_AFTER, RECURS_WITHIN
from incidents.wording import incident_link

Decision = Literal["raise", "lower", "decline"]
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
OFFER_AGAIN = timedelta(days=30)  # after a no; without an answer, when twice as many are verified
# A person says that it was not us; what the proof saw before counts no more.
DISOWNED = (Verdict.RESOLVED_BY_HUMAN, Verdict.FALSE_ALARM)
VERIFIED = Q(helped=True) & ~Q(incident__verdict__in=DISOWNED)


class CannotDecide(Exception):
    """There is nothing to decline, or nothing that could be raised; the message says why."""


@dataclass(frozen=True)
class Record:
    """What a pair's changes came to since it was last lowered. `judged` are those whose incident ended, or of
    which the proof said something; `approved` are the verified ones that a person approved.
    """

    verified: int
    judged: int
    approved: int
    since: datetime | None

    @property
    def text(self) -> str:
        """`8 of 8 verified since March`."""
        since = f" since {_month(self.since)}" if self.since else ""
        return f"{self.verified} of {self.judged} verified{since}"


def pair_of(action: Action) -> Autonomy | None:
    """The row of an action's pair; None while nothing is known of it."""
    return Autonomy.objects.filter(**_fields(action)).first()


def raised(pair: Autonomy | None) -> str | None:
    """The words of a person's yes ahead, or None."""
    if pair is None or not pair.is_alone:
        return None
    return f"{pair.raised_by} said on {pair.raised_at:%Y-%m-%d} that it need not ask"


def lowered(pair: Autonomy | None) -> str | None:
    """Why the pair asks whatever the mode, or None."""
    return f"it asks again: {pair.lowered_why}" if pair is not None and pair.is_lowered else None


def with_record() -> QuerySet[Autonomy]:
    """The pairs, each with the four numbers of its `Record`. They are counted anew: no second truth."""
    lowered_at = Coalesce(OuterRef("lowered_at"), Value(LONG_AGO))
    rows = Action.objects.changes().filter(
        kind=OuterRef("kind"),
        alert_name=OuterRef("alert_name"),
        target__kind=OuterRef("target_kind"),
        executing_at__gt=lowered_at,
    )
    ended = Q(helped__isnull=False) | Q(incident__status=Incident.Status.CLOSED)
    return Autonomy.objects.annotate(
        verified=_count(rows.filter(VERIFIED)),
        judged=_count(rows.filter(ended)),
        approved=_count(rows.filter(VERIFIED, by_person=True)),
        since=Subquery(rows.order_by("executing_at").values("executing_at")[:1]),
    )


def _count(rows: QuerySet[Action]) -> Coalesce:
    each = rows.order_by().values("kind").annotate(count=Count("pk")).values("count")
    return Coalesce(Subquery(each), Value(0))


def record_of(pair: Any) -> Record:
    """Of a pair that was read `with_record`."""
    return Record(pair.verified, pair.judged, pair.approved, pair.since)


def offer_of(pair: Any) -> str | None:
    """The question that waits for a person, `8 of 8 verified since March; stop asking?`, or None. Of a pair
    that was read `with_record`.
    """
    return f"{record_of(pair).text}; stop asking?" if is_offered(pair) else None


def is_offered(pair: Autonomy) -> bool:
    """Whether a person may raise it, was asked so, and has not answered; and whether that would change it."""
    return pair.is_offered and not acts_alone(pair)


def offered() -> list[Autonomy]:
    """Pairs whose offer waits for a person, with their records."""
    rows = with_record().filter(offered_at__isnull=False, level=Autonomy.Level.ASKS)
    return [pair for pair in rows.order_by("pk") if is_offered(pair)]


def acts_alone(pair: Autonomy) -> bool:
    """Whether the mode, the owner's word on the kind and the pair ask nobody. Other rules may."""
    if _kind_asks(pair.kind):
        return False
    if settings.REMEDIATION_MODE == "auto":
        return not pair.is_lowered
    return settings.REMEDIATION_MODE == "approve" and pair.is_alone


def _kind_asks(kind: str) -> bool:
    """Whether the owner wants a kind asked about, or not at all; a grave one is, unless he says otherwise."""
    return settings.REMEDIATION_ACTIONS.get(kind, "approve" if kind in GRAVE else "auto") != "auto"


def _not_to_raise(pair: Autonomy) -> str | None:
    """Why a yes ahead is none for such a change, or None."""
    if SPECS[pair.kind].arguments.model_fields:
        return f"{pair} takes arguments, which a person reads each time"
    if _kind_asks(pair.kind):
        return f"{pair} is asked about unless REMEDIATION_ACTIONS has {pair.kind}=auto"
    return None


@transaction.atomic
def decide(pair: Autonomy, decision: Decision, *, by: str) -> bool:
    """A person's word; False when it is so already: then it stays as it was said.

    CannotDecide without an offer to decline; of changes that take arguments, for nobody has read those that a
    later one will have; and of kinds that the owner wants asked about.
    """
    row = Autonomy.objects.select_for_update().get(pk=pair.pk)
    if decision == "decline":
        if not row.is_offered:
            raise CannotDecide(f"nothing is offered for {row}")
        fields = {"declined_at": timezone.now(), "declined_by": by[:150]}
        _change(row, None, by, f"goes on asking: {row}", **fields)
    elif row.is_alone if decision == "raise" else row.is_lowered:
        return False
    elif decision == "raise":
        if (why := _not_to_raise(row)) is not None:
            raise CannotDecide(why)
        fields = {"level": Autonomy.Level.ALONE, "raised_at": timezone.now(), "raised_by": by[:150]}
        _change(row, None, by, f"asks no more: {row} ({_recount(row).text})", **fields)
    else:
        _lower(row, None, by, f"{by} said so")
    return True


def settle(action: Action) -> None:
    """Take account of an action's outcome, in the transaction that writes it: it failed, or it helped."""
    pair, _ = Autonomy.objects.select_for_update().get_or_create(**_fields(action))
    if action.helped is False or action.status == Action.Status.FAILED:
        _lower_for(pair, action, f"{action}: {_what_went_wrong(action)} (#{action.incident_id})")
    elif action.helped:
        if (recurred := _recurred(pair, action)) is not None:
            _open_recurrence(pair, action, recurred)
        else:
            _offer(pair, action.incident)


def key_of(action: Action) -> tuple[str, str, str]:
    """Kind of change, kind of target, name of the alert."""
    return action.kind, action.target.kind, action.alert_name


def _fields(action: Action) -> dict[str, Any]:
    return dict(zip(("kind", "target_kind", "alert_name"), key_of(action), strict=True))


def _recount(pair: Autonomy) -> Record:
    return record_of(with_record().get(pk=pair.pk))


def _what_went_wrong(action: Action) -> str:
    return "failed" if action.status == Action.Status.FAILED else "did not help"


def _change(pair: Autonomy, incident: Incident | None, actor: str, text: str, **fields: object) -> None:
    """Write a locked pair, and say so."""
    for name, value in fields.items():
        setattr(pair, name, value)
    pair.save(update_fields=list(fields))
    data = {"pair": pair.pk, "level": pair.level}
    events.record(incident, Event.Kind.AUTONOMY, actor, text, data)


def _lower(pair: Autonomy, incident: Incident | None, actor: str, why: str) -> None:
    """What was verified before counts no more, and neither does an offer."""
    fields = {"level": Autonomy.Level.ASKS, "lowered_at": timezone.now(), "lowered_why": why[:300]}
    forgotten = {"offered_at": None, "offered_count": 0, "declined_at": None, "declined_by": ""}
    _change(pair, incident, actor, f"asks from now on: {pair}; {why}", **fields, **forgotten)


def _lower_for(pair: Autonomy, action: Action, why: str) -> None:
    """A change took the pair's autonomy; people are told when it acted alone until now."""
    acted_alone = acts_alone(pair)
    _lower(pair, action.incident, "policy", why)
    if acted_alone:
        notifications.tell_once(
            action.incident,
            Notification.Kind.UPDATE,
            title=f"asks again: {pair}",
            body=f"{why}.\nIt asks until a person raises it again.\n{incident_link(action.incident)}",
            transition=f"lowered:{action.pk}",
        )


def _recurred(pair: Autonomy, action: Action) -> list[Action] | None:
    """The changes of a target that were verified lately, this one the last, when they are too many; those
    from before the pair was lowered are not counted again.
    """
    since = max(timezone.now() - RECURS_WITHIN, pair.lowered_at or LONG_AGO)
    rows = Action.objects.changes().filter(VERIFIED, kind=pair.kind, alert_name=pair.alert_name)
    rows = rows.filter(target=action.target, executing_at__gt=since)
    found = list(rows.select_related("incident").order_by("executing_at"))
    return found if len(found) >= RECURS_AFTER else None


def _open_recurrence(pair: Autonomy, action: Action, changes: list[Action]) -> None:
    """The third time: it is a problem, which people are told of, and the change asks from now on."""
    said = f"{problems.times_in_words(len(changes))}: {action} does not mend what is wrong"
    problem, is_news = problems.raise_problem(
        action.alert_name,
        action.target,
        list(dict.fromkeys(change.incident for change in changes)),
        why=f"Each time {action} was verified, and {action.alert_name} came back. It asks: {pair}.",
        data={"pair": pair.pk, "target": action.target_id, "actions": [change.pk for change in changes]},
    )
    if is_news:
        _lower(pair, action.incident, "policy", said)
    else:
        _lower_for(pair, action, f"{said} (problem {problem.pk})")


def _offer(pair: Autonomy, incident: Incident) -> None:
    """Offer to ask no more, when enough was verified that people approved; the closing message says it."""
    record = _recount(pair)
    earned = record.approved >= settings.AUTONOMY_OFFER_AFTER and not acts_alone(pair)
    if not earned or _not_to_raise(pair) or not _may_offer(pair, record):
        return
    fields = {"offered_at": timezone.now(), "offered_count": record.approved}
    _change(pair, incident, "policy", f"{pair}: {record.text}; stop asking?", **fields)


def _may_offer(pair: Autonomy, record: Record) -> bool:
    """The first time, when twice as many are verified as the last time, or long after a no."""
    if pair.offered_at is None or record.approved >= 2 * pair.offered_count:
        return True
    declined = pair.declined_at if not pair.is_offered else None
    return declined is not None and timezone.now() - declined >= OFFER_AGAIN


def _month(moment: datetime) -> str:
    """`March`, `March 2025` of another year, `3 November` of this month, as people here read it (TZ)."""
    here = ZoneInfo(settings.TIME_ZONE)
    then, today = moment.astimezone(here), timezone.now().astimezone(here)
    if then.year != today.year:
        return f"{then:%B %Y}"
    return f"{then.day} {then:%B}" if then.month == today.month else f"{then:%B}"
