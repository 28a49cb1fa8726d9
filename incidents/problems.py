"""A trouble that comes back is a problem: the third time in a week it is raised, with its incidents and with
what may end it for good.

The task that takes a closed incident into the memory looks for it. That is after the closing was committed:
it costs those nothing who close, and of several that close at once the last one sees them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from incidents import events, lasting, memory, notifications
from incidents.models import Event, Incident, MemoryEntry, Notification, Problem, Target, Verdict
from incidents.redaction import clean
from incidents.wording import incident_link

RECURS_AFTER = 3
RECURS_WITHIN = timedelta(days=7)
# What a person closed as done is disproved by a single return within this time; later, it takes three again.
RETURNS_WITHIN = timedelta(days=30)
MOST_LINKED = 100
MOST_READ = 20  # of the latest incidents, for the proposal
MOST_TOLD = 10
RULES = "problems"  # the actor of what rules do


def of_signature(signature: str) -> QuerySet[MemoryEntry]:
    """Entries of closed incidents of one trouble, the latest first; false alarms are none."""
    ended = MemoryEntry.objects.filter(signature=signature, incident__verdict__isnull=False)
    return ended.exclude(incident__verdict=Verdict.FALSE_ALARM).order_by("-happened_at")


def notice(entry_pk: int) -> Problem | None:
    """Look whether the incident of an entry makes a problem, or belongs to one; any number of times."""
    rows = MemoryEntry.objects.select_related("incident__target").defer("vector", "next_vector", "text")
    entry = rows.filter(pk=entry_pk, incident__verdict__isnull=False).first()
    if entry is None or entry.incident is None or entry.incident.closed_at is None:
        return None
    incident, ended = entry.incident, entry.incident.closed_at
    if incident.verdict == Verdict.FALSE_ALARM:
        _leave(incident)
        return None
    known = Problem.objects.filter(signature=entry.signature).first()
    if known is None:
        found = _recurring(entry.signature)
    elif known.closed_at is None:
        found = [incident]
    elif ended <= known.closed_at:
        if ended > known.opened_at:  # it ended just before, and is no return
            known.incidents.add(incident)
        return None
    elif ended - known.closed_at <= RETURNS_WITHIN:
        found = [incident]
    else:
        found = _recurring(entry.signature, since=known.closed_at)
    if not found:
        return None
    return raise_problem(incident.alert_name, incident.target, found, signature=entry.signature)[0]


def _recurring(signature: str, since: datetime | None = None) -> list[Incident]:
    """The incidents of a trouble within RECURS_WITHIN, when they are too many; else none."""
    begins = max(filter(None, (timezone.now() - RECURS_WITHIN, since)))
    entries = of_signature(signature).filter(happened_at__gt=begins).select_related("incident")
    found = [each.incident for each in entries.defer("vector", "next_vector", "text")[:MOST_LINKED]]
    return [each for each in found if each] if len(found) >= RECURS_AFTER else []


@transaction.atomic
def raise_problem(
    alert_name: str,
    target: Target | None,
    incidents: Sequence[Incident],
    *,
    signature: str = "",
    why: str = "",
    data: dict[str, Any] | None = None,
) -> tuple[Problem, bool]:
    """The open problem of a trouble, with these incidents joined; and whether it was raised, or reopened,
    just now. Then it is on the timeline of the latest and people are told, once. `why`: what else is said of
    it; `data` is kept in the event.
    """
    signature = signature or memory.signature(alert_name, target.key if target else "")
    ended = max(each.closed_at or each.opened_at for each in incidents)
    fields = {"title": clean(alert_name), "target": target, "last_seen_at": ended}
    made, created = Problem.objects.get_or_create(signature=signature, defaults=fields)
    problem = Problem.objects.select_for_update(of=("self",)).select_related("target").get(pk=made.pk)
    reopened = not created and problem.closed_at is not None
    problem.incidents.add(*incidents)
    if reopened:
        problem.closed_at, problem.closed_by, problem.opened_at = None, "", timezone.now()
        problem.reopened += 1
    problem.last_seen_at = max(problem.last_seen_at, ended)
    if not problem.proposal_by:
        problem.proposal = lasting.proposal(_payloads(problem))
    problem.save()
    if created or reopened:
        _tell(problem, max(incidents, key=lambda each: each.pk), reopened=reopened, why=why, data=data or {})
    return problem, created or reopened


@transaction.atomic
def _leave(incident: Incident) -> None:
    """It was none: it counts no more, and what it taught is taken back."""
    for problem in incident.problems.select_for_update():
        problem.incidents.remove(incident)
        if not problem.proposal_by:
            problem.proposal = lasting.proposal(_payloads(problem))
            problem.save(update_fields=["proposal"])


def _payloads(problem: Problem) -> list[dict[str, Any]]:
    """What is remembered of its latest incidents, the latest first."""
    entries = MemoryEntry.objects.filter(incident__problems=problem).order_by("-happened_at")
    return list(entries.values_list("payload", flat=True)[:MOST_READ])


def _tell(problem: Problem, latest: Incident, *, reopened: bool, why: str, data: dict[str, Any]) -> None:
    incidents = list(problem.incidents.order_by("-pk")[:MOST_TOLD])[::-1]
    said = "came back after it was closed" if reopened else times_in_words(problem.incidents.count())
    where = f" {problem.target.name}@{problem.target.host}" if problem.target else ""
    facts = {**data, "problem": problem.pk, "incidents": [each.pk for each in incidents]}
    events.record(latest, Event.Kind.RECURRED, RULES, f"{said}: {why or 'a problem'}", facts)
    links = [
        f"{each.started_at:%Y-%m-%d %H:%M} UTC: {incident_link(each)}, {each.get_verdict_display() or 'open'}"
        for each in incidents
    ]
    notifications.tell_once(
        latest,
        Notification.Kind.UPDATE,
        title=f"{problem.title}{where}: {said}",
        body="\n".join(filter(None, (*links, why, problem.proposal, _link(problem)))),
        transition=f"problem:{problem.pk}:{problem.reopened}",
    )


def times_in_words(times: int) -> str:
    """`3 times in 7 days`."""
    return f"{times} times in {RECURS_WITHIN.days} days"


def times(incident: Incident) -> int:
    """How often the trouble of an incident was there in the last days, this time included."""
    until = incident.closed_at or timezone.now()
    entries = of_signature(memory.signature_of(incident)).exclude(incident=incident.pk)
    recent = entries.filter(happened_at__gt=until - RECURS_WITHIN, happened_at__lte=until)
    return len(recent.values_list("pk")[:MOST_LINKED]) + 1


def counted() -> QuerySet[Problem]:
    """Problems with their `times`: how many incidents each has."""
    links: QuerySet[Any] = Problem.incidents.through.objects.filter(problem=OuterRef("pk"))
    number = links.order_by().values("problem").annotate(number=Count("pk")).values("number")
    return Problem.objects.select_related("target").annotate(times=Coalesce(Subquery(number), Value(0)))


def open_problems() -> QuerySet[Problem]:
    """Those that nobody has closed, the latest seen first."""
    return counted().filter(closed_at=None).order_by("-last_seen_at")


def of_incident(incident: Incident) -> QuerySet[Problem]:
    """Those that it is linked to, and while it is open, the open one that it will join."""
    mine = Q(pk__in=incident.problems.values("pk"))
    if incident.verdict is None:
        mine |= Q(signature=memory.signature_of(incident), closed_at=None)
    return counted().filter(mine)


@transaction.atomic
def edit(problem: Problem, *, by: str, note: str | None = None, proposal: str | None = None) -> Problem:
    """A person's words; None keeps what is there. An empty proposal lets the rules write it again."""
    row = Problem.objects.select_for_update().get(pk=problem.pk)
    said = {name: clean(text) for name, text in (("note", note), ("proposal", proposal)) if text is not None}
    if "proposal" in said and said["proposal"] != row.proposal:
        row.proposal = said["proposal"] or lasting.proposal(_payloads(row))
        row.proposal_by = by[:150] if said["proposal"] else ""
    row.note = said.get("note", row.note)
    row.save(update_fields=["note", "proposal", "proposal_by"])
    _record(row, by, f"wrote on problem {row.pk}", said)
    return row


@transaction.atomic
def close(problem: Problem, *, by: str, note: str | None = None) -> bool:
    """A person says that it is over; False when it was closed before. It opens again when it returns."""
    closed = {"closed_at": timezone.now(), "closed_by": by[:150]}
    if not Problem.objects.filter(pk=problem.pk, closed_at=None).update(**closed):
        return False
    if note is not None:
        edit(problem, by=by, note=note)
    _record(problem, by, f"closed problem {problem.pk}", {})
    return True


def _record(problem: Problem, by: str, text: str, said: dict[str, str]) -> None:
    latest = problem.incidents.order_by("-pk").first()
    events.record(latest, Event.Kind.PROBLEM, by, text, {"problem": problem.pk, **said})


def _link(problem: Problem) -> str:
    path = f"/admin/incidents/problem/{problem.pk}/change/"
    return f"{settings.PUBLIC_URL}{path}" if settings.PUBLIC_URL else f"problem {problem.pk}"
