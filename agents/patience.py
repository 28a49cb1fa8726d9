"""Where an alert usually heals itself sooner than a change would help, the Healer waits, and says why.

It is learnt from what was proved: incidents of the same alert, on the same kind of target, that cleared
without any action of ours. Those that did not clear so, whatever became of them, count as such that would
never have healed; so an alert must have healed itself in three of four cases, and in time.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from agents import cases
from agents.models import Action, CrewRun, Step
from agents.services import WAITS
from incidents import rawsql
from incidents.models import Incident, Target, Verdict
from incidents.wording import duration, people_time

LEARN_DAYS = 90
LEAST_HEALED = 5
MOST_CASES = 100  # the latest ones
USUALLY = 0.75
# From the call of a change to the clearing of its alert, where nothing is known.
CHANGE_SECONDS = 60.0
LONGEST = timedelta(minutes=10)
LONGEST_CRITICAL = timedelta(minutes=2)
WAITING = "run_id = {} AND agent = 'healer' AND state = 'waiting' AND waits_since IS NOT NULL"
LOOK_AGAIN = timedelta(seconds=5)


@dataclass(frozen=True)
class History:
    """How the closed cases of an alert ended. `healed`: seconds from the alert's start to the clearing of
    those that healed themselves; `changed`: seconds from a change that was verified to the clearing.
    """

    cases: int = 0
    healed: tuple[float, ...] = ()
    changed: tuple[float, ...] = ()

    def heals_in(self) -> float | None:
        """Seconds within which the alert usually heals itself; None when it does not, or it is not known."""
        place = math.ceil(USUALLY * self.cases)
        if len(self.healed) < max(LEAST_HEALED, place):
            return None
        return sorted(self.healed)[place - 1]

    def change_takes(self, hold: float) -> float:
        """Seconds from a change to its proof."""
        return (statistics.median(self.changed) if self.changed else CHANGE_SECONDS) + hold


@dataclass(frozen=True)
class Wait:
    """Why the Healer waits, and until when. `since`: when it began to."""

    since: datetime
    until: datetime
    text: str


def history_of(alert_name: str, target_kind: str) -> History:
    """One statement, of the latest cases in the last LEARN_DAYS."""
    helped = Action.objects.outcomes().filter(incident=OuterRef("pk"), helped=True)
    rows = (
        Incident.objects.closed()
        .filter(alert_name=alert_name, target__kind=target_kind)
        .filter(closed_at__gt=timezone.now() - timedelta(days=LEARN_DAYS))
        .exclude(verdict=Verdict.FALSE_ALARM)
        .annotate(changed_at=Subquery(helped.values("executing_at")[:1]))
        .order_by("-closed_at")
        .values_list("verdict", "started_at", "resolution_seconds", "changed_at")
    )
    found = list(rows[:MOST_CASES])
    healed, changed = [], []
    for verdict, started_at, seconds, changed_at in found:
        if seconds is None:
            continue
        if verdict == Verdict.CLEARED_BEFORE_ACTION:
            healed.append(seconds)
        elif changed_at is not None:
            changed.append(max(0.0, seconds - (changed_at - started_at).total_seconds()))
    return History(len(found), tuple(healed), tuple(changed))


def reason_to_wait(step: Step) -> Wait | None:
    """Why a Healer should not propose anything yet; None when it should, or a person wants it to."""
    incident = step.run.incident
    if step.asked_by or step.focus is None or incident.adopted or settings.REMEDIATION_MODE == "observe":
        return None
    now = timezone.now()
    if step.waits_since is not None:
        return _until_proved(step, step.waits_since, now)
    episode = cases.first_episode(incident, step.focus)
    if episode is None:
        return None
    history = history_of(episode.title, step.focus.kind)
    heals_in = history.heals_in()
    if heals_in is None:
        return None
    until = episode.starts_at + timedelta(seconds=heals_in)
    takes = timedelta(seconds=history.change_takes(settings.PROOF_HOLD_SECONDS))
    if not now < until < now + min(takes, _longest(incident)):
        return None
    often = f"{len(history.healed)} of {history.cases} in the last {LEARN_DAYS} days"
    text = (
        f"{episode.title} usually heals itself in {duration(timedelta(seconds=heals_in))} ({often}); "
        f"waiting until {people_time(until)} before proposing anything"
    )
    return Wait(now, until, text)


def waiting(run: CrewRun) -> QuerySet[Step]:
    """The Healers of a run that wait for an alert to heal itself."""
    return run.steps.filter(agent=Step.Agent.HEALER, **WAITS)


def who_waits(run: CrewRun, focus: Target | None) -> Step | None:
    """The first of them, of a target if that is given."""
    which, keys = (" AND focus_id = {}", [focus.pk]) if focus else ("", [])
    return next(iter(rawsql.fetch(Step, WAITING + which, run.pk, *keys)), None)


def _until_proved(step: Step, since: datetime, now: datetime) -> Wait | None:
    """The time is over. What is clear at this moment is left alone a little longer: the proof holds."""
    watch = step.run.steps.filter(agent=Step.Agent.PROOF).order_by("-number").first()
    clears = watch is not None and (watch.output or {}).get("cleared_since") is not None
    if not clears or now + LOOK_AGAIN > since + _longest(step.run.incident):
        return None
    return Wait(since, now + LOOK_AGAIN, "")


def _longest(incident: Incident) -> timedelta:
    return LONGEST_CRITICAL if incident.severity_class == "critical" else LONGEST
