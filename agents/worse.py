"""Did a change make its own signal worse? Only what was seen before and after says so; else it is not said.

Then nobody waits for the proof's patience to end: people are told at once, and the change counts as one that
did not help.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from agents import cases, promql
from agents.judgement import Look, Progress
from agents.kinds import MENDING, ActionKind
from agents.models import Action, CrewRun
from agents.proof import LOOK_SECONDS
from agents.reading import Identity, selectors_with_samples
from agents.tools import docker
from agents.tools.base import ToolError
from agents.tools.prometheus_alert import Question, question_of
from agents.tools.prometheus_client import OneLook
from incidents.models import Episode, Incident, Verdict

WORDS = "made it worse"
FACTOR = 2.0  # so many times as far from its threshold; less may be noise
MOST_ALERTS = 5  # read of one target in a look
BREAKS_WHAT_RUNS = tuple(kind for kind in MENDING if kind != ActionKind.STOP_CONTAINER)


@dataclass(frozen=True)
class Worse:
    """`text`: what is worse, as it was read."""

    action: Action
    text: str

    @property
    def note(self) -> str:
        return f"{self.action} {WORDS}: {self.text}"


def look(run: CrewRun, progress: Progress, seen: Look) -> Worse | None:
    """The latest change of a run that made its own signal worse, by the engine or by Prometheus."""
    done = Action.objects.repairs().filter(step__run=run, helped=None, finished_at__isnull=False)
    for action in done.select_related("target", "incident").order_by("-executing_at"):
        text = _stopped_running(action) or _signal(action, progress, seen)
        if text is not None:
            return Worse(action, text)
    return None


def was_said(incident: Incident) -> bool:
    """Whether an incident ended so."""
    return incident.verdict == Verdict.NOT_FIXED and WORDS in incident.proof_note


def _stopped_running(action: Action) -> str | None:
    """What ran before the change and does not since, though nobody stopped it."""
    before, target = action.target_state, action.target
    steady = before.get("status_class") == "running" and before.get("restarting") is False
    if target.kind != "docker" or not steady or action.kind not in BREAKS_WHAT_RUNS:
        return None
    try:
        state = docker.inspect_container(target.host, target.name)
        if state.status == "restarting":
            return f"{target.key} ran before, and is restarting again and again"
        # A restart whose second half failed leaves a stop event: ours, not a person's.
        half = action.kind == ActionKind.RESTART_CONTAINER and action.status != Action.Status.DONE
        if not state.running and (half or docker.stopped_by(target.host, target.name) == "crash"):
            return f"{target.key} ran before, and is {state.status} with exit code {state.exit_code}"
    except ToolError:
        return None
    return None


def _signal(action: Action, progress: Progress, seen: Look) -> str | None:
    """By Prometheus's record of the time just before the change; what it does not remember says nothing."""
    if settings.PROMETHEUS_URL is None or progress.newer_than is None or not seen.firing:
        return None
    assert action.executing_at is not None
    assert action.finished_at is not None
    before = progress.newer_than - (action.finished_at - action.executing_at).total_seconds() - 1
    client = OneLook(settings.PROMETHEUS_URL, seconds=LOOK_SECONDS / 3)
    alerts = action.incident.episodes.filter(pk__in=seen.firing, target=action.target).order_by("id")
    for episode in alerts[:MOST_ALERTS]:
        try:
            question = question_of(
                client,
                alert_name=episode.alert_name,
                labels=episode.labels,
                expression=cases.expression_of(episode),
            )
            text = _one_more(client, question, action, episode, before) or _further(
                client, question, episode, before, progress.newer_than
            )
        except (ToolError, promql.PromQLError):
            continue
        if text is not None:
            return text
    return None


def _one_more(
    client: OneLook, question: Question, action: Action, episode: Episode, before: float
) -> str | None:
    """Another series of an alert that the change answers fires since, whose own samples said no before."""
    others = action.incident.episodes.filter(target=action.target, alert_name=episode.alert_name)
    is_new = action.executing_at is not None and episode.starts_at > action.executing_at
    if not is_new or not others.filter(starts_at__lte=action.executing_at).exists():
        return None
    alert = Identity(episode.labels, question.rule_labels)
    if any(not alert.contradicts(row.labels) for row in client.instant(question.expression, before)):
        return None
    had = selectors_with_samples(
        client, question.expression, episode.labels, at=before, rule_labels=question.rule_labels
    )
    return f"one more {episode.title} of {action.target.key} fires since" if had else None


def _further(
    client: OneLook, question: Question, episode: Episode, before: float, after: float
) -> str | None:
    """The value is FACTOR times as far beyond its threshold, and it was not on its way there."""
    compared = promql.comparison(question.expression)
    if compared is None or compared.side == 0:
        return None
    now = client.now()
    if now < after + promql.longest_range(question.expression):
        return None  # samples of before have a part in it
    alert = Identity(episode.labels, question.rule_labels)

    def beyond(at: float) -> float | None:
        rows = client.instant(compared.measured, at)
        own = [row.value for row in rows if alert.is_of(row.labels)]
        return (own[0] - compared.threshold) * compared.side if len(own) == 1 else None

    earlier, then, here = beyond(before - (now - before)), beyond(before), beyond(now)
    if earlier is None or then is None or here is None or then <= 0:
        return None
    expected = max(then, then + (then - earlier))
    if here <= FACTOR * expected:
        return None
    was, is_now = (compared.threshold + compared.side * each for each in (then, here))
    return f"{compared.measured} was {was:g} and is {is_now:g}, its threshold is {compared.threshold:g}"
