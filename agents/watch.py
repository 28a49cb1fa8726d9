"""A look of the proof: read the expression, judge, and come back later or close the incident."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

from django.db import transaction
from django.db.models import Exists, Q
from django.utils import timezone
from opentelemetry.trace import get_current_span

from agents import cases, patience, proof, questions, services, worse
from agents.judgement import CLEARED, FIRING, Judgement, Look, Progress, judge
from agents.models import Action, CrewRun, Step
from incidents import events
from incidents import services as incident_services
from incidents.models import Event, Incident, Target, Verdict
from incidents.queue import LIVE, State

Status = Incident.Status
QUICK_SECONDS = 5.0
# An expression that nothing was done about is looked at less often; a resolve wakes the look anyway. A
# Prometheus that is away is asked less often, too: every look at it keeps a worker waiting.
IDLE_SECONDS = 15.0
OTHERS = 5


def look(step: Step) -> None:
    incident = step.run.incident
    if _is_superseded(step) or incident.status == Status.CLOSED:
        step.finish(finished_at=timezone.now())
        return
    if incident.status == Status.ACTING:
        step.put_back(seconds=QUICK_SECONDS)  # what is seen in the middle of a change means nothing
        return
    _expire_question(incident)
    progress = Progress.from_json(step.output or {})
    began = time.time()
    seen = proof.observe(incident, progress)
    get_current_span().set_attribute("homelab.proof.state", seen.state.value)
    bad = worse.look(step.run, progress, seen) if progress.acted else None
    other = _other_target(step, incident)
    with transaction.atomic():
        if not step.save_progress():
            return  # another worker looks now; from here on it waits for this transaction
        if _is_superseded(step):  # while we looked
            step.finish(finished_at=timezone.now())
            return
        if other is not None:
            services.lock_incident(incident.pk)  # before the run, as everybody who needs both
            services.work_on(step.run, other)
        _settle(step, incident, progress, seen, began, bad)


def _is_superseded(step: Step) -> bool:
    """Another watch began, after an action, say; or the run is over, and perhaps another one has begun."""
    newer = Step.objects.filter(run=step.run_id, agent=Step.Agent.PROOF, number__gt=step.number)
    return CrewRun.objects.filter(Q(finished_at__isnull=False) | Exists(newer), pk=step.run_id).exists()


def _settle(
    step: Step,
    incident: Incident,
    progress: Progress,
    seen: Look,
    began: float,
    bad: worse.Worse | None,
) -> None:
    """Judge a look, and close the incident or come back later. What got worse is told at once."""
    thinking = _is_thinking(step.run)
    others = _is_about_others(step.run, incident, progress, seen)
    judgement = judge(
        progress,
        seen,
        now=time.time(),
        ended=incident.ended_at is not None,
        waiting=thinking or others or incident.status == Status.AWAITING_APPROVAL,
        began=began,
    )
    if bad is not None:
        judgement = replace(judgement, verdict=Verdict.NOT_FIXED, note=bad.note)
    if judgement.verdict is not None and not thinking and not _is_hasty(step.run, judgement.verdict):
        _close(step, incident, judgement, seen, bad)
        return
    pause = IDLE_SECONDS if seen.away or others else _pause(judgement.progress)
    if step.put_back(seconds=pause, output=judgement.progress.as_json()):
        _note_change(incident, progress, judgement.progress)


def _is_about_others(run: CrewRun, incident: Incident, progress: Progress, seen: Look) -> bool:
    """What still fires was not acted on, and says nothing of what was done elsewhere."""
    if not progress.acted or seen.state is CLEARED:
        return False
    acted = Action.objects.repairs().filter(step__run=run).values("target")
    if incident.episodes.filter(pk__in=seen.firing, target__in=acted).exists():
        return False
    return seen.state is FIRING or incident.episodes.firing().exclude(target__in=acted).exists()


def _is_thinking(run: CrewRun) -> bool:
    """The crew is at one of the incident's targets: no verdict before it is known what will be done."""
    agents = (Step.Agent.ANALYST, Step.Agent.HEALER)
    live = run.steps.filter(agent__in=agents, state__in=LIVE)
    return live.exclude(**services.WAITS).exists()


def _is_hasty(run: CrewRun, verdict: Verdict) -> bool:
    """A Healer waits for its alert to heal itself: it did, or nothing is said before the Healer's turn."""
    return verdict != Verdict.CLEARED_BEFORE_ACTION and patience.waiting(run).exists()


def _other_target(step: Step, incident: Incident) -> Target | None:
    """A target of the incident that may be down and that the crew has not looked at yet.

    One group may bring several, and some of them later than the crew's first look. Where nothing can be
    proved, what the sender says is reason enough to look.
    """
    if incident.status not in (Status.PROVING, Status.AWAITING_APPROVAL) or incident.taken_over_at:
        return None
    cases.bind_targets(incident, incident.episodes.filter(target=None).order_by("id")[: cases.MOST_ALERTS])
    turns = step.run.steps.filter(agent=Step.Agent.ANALYST, focus__isnull=False)
    looked = turns.exclude(state=State.DONE, output__isnull=True)  # what has no answer was left to a person
    rows = incident.episodes.firing().filter(target__isnull=False).exclude(target__in=looked.values("focus"))
    for episode in rows.select_related("target").order_by("id")[:OTHERS]:
        if proof.observe_episode(episode).state is not CLEARED:
            return episode.target
    return None


def _expire_question(incident: Incident) -> None:
    late = incident.actions.filter(status=Action.Status.AWAITING_APPROVAL, expires_at__lte=timezone.now())
    for action in late.select_related("incident", "target"):
        if questions.expire(action):
            incident.refresh_from_db()


def _close(
    step: Step,
    incident: Incident,
    judgement: Judgement,
    seen: Look,
    bad: worse.Worse | None,
) -> None:
    assert judgement.verdict is not None
    since = judgement.progress.cleared_since
    get_current_span().set_attribute("homelab.verdict", judgement.verdict.value)
    closed = incident_services.close(
        incident,
        judgement.verdict,
        actor="proof",
        note=judgement.note,
        proved_at=datetime.fromtimestamp(since, tz=UTC) if since is not None else None,
        only_if_unjoined=True,
    )
    if not closed:  # an alert joined, or a person was faster: look again
        step.put_back(seconds=1.0)
        return
    if bad is not None:
        services.change(bad.action, Action.Status(bad.action.status), helped=False)
    services.settle_outcomes(incident, firing=seen.firing, cleared=seen.cleared)
    step.finish(output=judgement.progress.as_json(), finished_at=timezone.now())


def _pause(progress: Progress) -> float:
    """Often enough to see a relapse within the hold window, seldom where nothing is expected."""
    if progress.acted or progress.cleared_since is not None:
        return max(1.0, min(QUICK_SECONDS, progress.hold / 5))
    return IDLE_SECONDS


def _note_change(incident: Incident, before: Progress, after: Progress) -> None:
    """The timeline says what the looks saw when it changes, not at every look."""
    if before.last.split(":", 1)[0] != after.last.split(":", 1)[0]:
        events.record(incident, Event.Kind.PROOF, "proof", after.last)
