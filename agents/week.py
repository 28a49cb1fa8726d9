"""The week: what the crew fixed alone, what people approved, where it was wrong, and what nobody knows.

It is on the overview, as the last seven days, and goes to the channels at WEEKLY_REPORT as a message, once:
the row of the message is the proof that it was told, however many beats and workers there are. A week in
which nothing happened is not told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.utils import timezone

from agents import ledger, rehearsal
from agents.figures import ended_since
from agents.models import Action, Autonomy
from incidents import jobs, notifications
from incidents.counts import UNFIXED
from incidents.literal import Literal
from incidents.models import Incident, Notification, Rating, Verdict
from incidents.wording import headline, incident_link, standing

JOB = "weekly_report"
EVERY_SECONDS = 300.0
SPAN = timedelta(days=7)
NOISIEST = 3
SHOWN_WRONG, SHOWN = 20, 5
# Who else, or nobody, ended the rest of them.
OTHERS = {
    Verdict.CLEARED_BEFORE_ACTION: "over by itself",
    Verdict.RESOLVED_BY_HUMAN: "resolved by a person",
    Verdict.FALSE_ALARM: "false alarm",
}


@dataclass(frozen=True)
class Group:
    """Incidents of one outcome: how many, and the latest of them."""

    key: str
    title: str
    count: int
    incidents: list[Incident]

    @property
    def rows(self) -> list[tuple[Incident, str]]:
        """Each with how it stands, in the words for people."""
        return [(incident, standing(incident)) for incident in self.incidents]

    @property
    def more(self) -> int:
        return self.count - len(self.incidents)


@dataclass(frozen=True)
class Week:
    """What ended in seven days. Each incident is counted once; a cause that a person calls wrong is wrong."""

    since: datetime
    until: datetime
    wrong: Group
    unknown: Group
    approved: Group
    alone: Group
    others: list[tuple[str, int]]
    noisiest: list[tuple[str, int]]
    offers: list[tuple[Autonomy, str]]
    open: int

    @property
    def groups(self) -> list[Group]:
        """The wrong ones first."""
        return [self.wrong, self.unknown, self.approved, self.alone]

    @property
    def ended(self) -> int:
        return sum(group.count for group in self.groups) + sum(count for _words, count in self.others)

    @property
    def is_empty(self) -> bool:
        return not (self.ended or self.open or self.offers)


def of(until: datetime | None = None, *, since: datetime | None = None) -> Week:
    """What ended between two moments, by default the last seven days. What is open and offered is of now."""
    until = until or timezone.now()
    since = since or until - SPAN
    rows = ended_since(since, until).exclude(source=rehearsal.SOURCE)
    verdicts = _by_verdict(rows)
    disowned = _by_verdict(rows.filter(rating=Literal(Rating.WRONG)))
    yes = _approved(since, until)
    approved_count: int = yes.aggregate(count=Count("incident", distinct=True))["count"]
    verified = rows.filter(verdict=Verdict.VERIFIED).exclude(rating=Rating.WRONG)
    alone = verdicts.get(Verdict.VERIFIED, 0) - disowned.get(Verdict.VERIFIED, 0) - approved_count
    unknown = rows.filter(verdict=Verdict.UNKNOWN).exclude(rating=Rating.WRONG)
    return Week(
        since=since,
        until=until,
        wrong=_wrong(rows, verdicts, disowned),
        unknown=_group("unknown", "Unknown", unknown, _left(Verdict.UNKNOWN, verdicts, disowned)),
        approved=_group(
            "approved", "Fixed, you approved", rows.filter(pk__in=yes.values("incident")), approved_count
        ),
        alone=_group(
            "alone", "Fixed alone", verified.filter(~Exists(yes.filter(incident=OuterRef("pk")))), alone
        ),
        others=[(words, _left(verdict, verdicts, disowned)) for verdict, words in OTHERS.items()],
        noisiest=_noisiest(rows),
        offers=[(pair, ledger.offer_of(pair) or "") for pair in ledger.offered()],
        open=Incident.objects.unresolved().count(),
    )


def _by_verdict(rows: QuerySet[Incident]) -> dict[str, int]:
    return {str(row["verdict"]): row["count"] for row in rows.values("verdict").annotate(count=Count("*"))}


def _left(verdict: Verdict, verdicts: dict[str, int], disowned: dict[str, int]) -> int:
    return verdicts.get(verdict, 0) - disowned.get(verdict, 0)


def _approved(since: datetime, until: datetime) -> QuerySet[Action]:
    """Changes that were approved and mended it. People approve few, while the crew may fix many."""
    yes = Action.objects.filter(by_person=True, helped=True, incident__verdict=Verdict.VERIFIED)
    yes = yes.filter(incident__closed_at__gte=since, incident__closed_at__lt=until)
    return yes.exclude(incident__rating=Rating.WRONG).exclude(incident__source=rehearsal.SOURCE)


def _wrong(rows: QuerySet[Incident], verdicts: dict[str, int], disowned: dict[str, int]) -> Group:
    """What was changed and not mended, and what a person says was wrong; each by its own index."""
    said = rows.filter(rating=Literal(Rating.WRONG)).exclude(verdict__in=UNFIXED)
    changed = rows.filter(verdict__in=UNFIXED)
    found = {row.pk: row for some in (changed, said) for row in _latest(some, SHOWN_WRONG)}
    ordered = sorted(found.values(), key=lambda row: (row.closed_at, row.pk), reverse=True)
    count = sum(verdicts.get(each, 0) for each in UNFIXED)
    count += sum(number for verdict, number in disowned.items() if verdict not in UNFIXED)
    return Group("wrong", "Wrong", count, ordered[:SHOWN_WRONG])


def _latest(rows: QuerySet[Incident], most: int) -> list[Incident]:
    return list(rows.select_related("target").order_by("-closed_at")[:most])


def _group(key: str, title: str, rows: QuerySet[Incident], count: int) -> Group:
    return Group(key, title, count, _latest(rows, SHOWN) if count else [])


def _noisiest(rows: QuerySet[Incident]) -> list[tuple[str, int]]:
    """The alerts of which most incidents ended."""
    names = rows.values("alert_name").annotate(count=Count("*")).order_by("-count", "alert_name")
    return [(row["alert_name"], row["count"]) for row in names[:NOISIEST]]


def run() -> dict[str, Any]:
    """As a job: tell the week that was last due, unless it was told, or was before the first look."""
    if settings.WEEKLY_REPORT is None:
        return {}
    zone = ZoneInfo(settings.TIME_ZONE)
    due = settings.WEEKLY_REPORT.last(timezone.now(), zone)
    told = jobs.last_result(JOB).get("told")
    if told is not None and datetime.fromisoformat(told) < due:
        # By the clock on the wall: a week in which the clocks change has an hour less, or more.
        tell(of(due, since=settings.WEEKLY_REPORT.last(due - timedelta(microseconds=1), zone)))
    return {"told": due.isoformat()}


def tell(week: Week) -> None:
    """Queue it for each channel, where quiet hours hold it as anything that can wait."""
    if not week.is_empty:
        notifications.tell_once(
            None,
            Notification.Kind.UPDATE,
            title=title(week),
            body=body(week),
            transition=f"week:{week.until:%Y-%m-%dT%H:%M}",
        )


def title(week: Week) -> str:
    """`Week: 2 wrong, 1 unknown, 3 approved, 12 fixed alone · 1 open`: all of it in 90 characters."""
    named = {"wrong": "wrong", "unknown": "unknown", "approved": "approved", "alone": "fixed alone"}
    parts = [f"{group.count} {named[group.key]}" for group in week.groups if group.count]
    others = sum(count for _words, count in week.others)
    if others:
        parts.append(f"{others} others" if parts else f"{others} ended without a change of ours")
    said = ", ".join(parts) or "nothing ended"
    return f"Week: {said}" + (f" · {week.open} open" if week.open else "")


def body(week: Week) -> str:
    """Plain text, for any channel."""
    sections = [_section(group) for group in week.groups if group.count]
    others = ", ".join(f"{count} {words}" for words, count in week.others if count)
    noisiest = ", ".join(f"{name} {count}" for name, count in week.noisiest)
    lines = [
        f"Others: {others}" if others else "",
        f"Noisiest: {noisiest}" if noisiest else "",
        *(f"Offered: {pair}: {offer}" for pair, offer in week.offers),
        f"Open now: {week.open}" if week.open else "",
        f"{settings.PUBLIC_URL}/" if settings.PUBLIC_URL else "",
    ]
    return "\n\n".join(filter(None, [*sections, "\n".join(filter(None, lines))]))


def _section(group: Group) -> str:
    lines = [f"{group.title}: {group.count}"]
    for incident in group.incidents:
        lines += [f"- {headline(incident, now=incident.closed_at)}", f"  {incident_link(incident)}"]
    if group.more:
        lines.append(f"… and {group.more} more")
    return "\n".join(lines)
