"""The proof. *Fixed* means that the alert's own expression cleared on fresh samples through a hold window.

`observe` reads the world once, for every alert of an incident; what looks come to is in `judgement`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from agents import audit, cases, promql
from agents.judgement import CLEARED, FIRING, UNKNOWN, Begun, Look, Progress
from agents.kinds import MENDING
from agents.models import Action, CrewRun
from agents.reading import read_expression
from agents.tools import docker
from agents.tools.base import ToolError
from agents.tools.prometheus_alert import check_alert, question_of
from agents.tools.prometheus_client import OneLook, Prometheus, shared
from incidents import rawsql
from incidents.models import Episode, Incident, Target

# Of several actions, what says least about whose merit it is comes first.
LEAST_FIRST: tuple[Begun, ...] = ("unknown", "done", "late", "failed")
MAX_EPISODES = 20
# More alerts than this are no false alarm, or not one that code may tell.
MAX_FALSE_ALERTS = 5
LOOK_SECONDS = 45.0
KINDS = [kind.value for kind in MENDING]
REPAIRS = """
    executing_at IS NOT NULL AND step_id IN (SELECT id FROM agents_step WHERE run_id = {}) AND kind {}"""
HEALTHY = (None, "healthy")  # None: the container has no health check


def begin(
    incident: Incident,
    *,
    action: Begun = "none",
    newer_than: float | None = None,
    series: tuple[str, ...] = (),
) -> Progress:
    """A new series; the patience covers the longest range in the expressions, which clears only so late."""
    alerts = _latest(cases.alerts_of(incident))
    longest = max((_range_of(episode) for episode in _window(alerts)), default=0.0)
    return Progress(
        action=action,
        began_at=time.time(),
        timeout=settings.PROOF_TIMEOUT_SECONDS + longest,
        hold=float(settings.PROOF_HOLD_SECONDS),
        newer_than=newer_than,
        must_be_fresh=series,
    )


def begun(run: CrewRun) -> Begun:
    """What became of the actions of a run so far; of several, what says least about whose merit it is."""
    found = {_became(action) for action in rawsql.fetch(Action, REPAIRS, run.pk, KINDS)}
    return next((name for name in LEAST_FIRST if name in found), "none")


def _became(action: Action) -> Begun:
    """`late`: it was done, but its alerts were over before, and nobody saw the fault any more."""
    if action.status == Action.Status.DONE:
        return "done" if action.may_have_helped else "late"
    known: dict[str, Begun] = {Action.Status.UNKNOWN: "unknown", Action.Status.FAILED: "failed"}
    return known.get(action.status, "none")


@dataclass
class Clock:
    """Prometheus, asked once for its version of now; None when there is none or it is away."""

    client: Prometheus | None = field(
        default_factory=lambda: Prometheus(settings.PROMETHEUS_URL) if settings.PROMETHEUS_URL else None
    )

    def now(self) -> float | None:
        try:
            return self.client.now() if self.client else None
        except ToolError:
            return None


def new_look() -> OneLook | None:
    """None without a Prometheus."""
    return OneLook(settings.PROMETHEUS_URL, seconds=LOOK_SECONDS) if settings.PROMETHEUS_URL else None


@dataclass
class Watcher:
    """Reads alerts one after another: one client, one deadline for all, and no waiting for the dead twice."""

    progress: Progress | None = None
    client: OneLook | None = field(default_factory=lambda: shared() or new_look())
    ends: float = field(default_factory=lambda: time.monotonic() + LOOK_SECONDS)

    def look(self, episode: Episode) -> Look:
        """Read one alert: our own check of a container, or the expression."""
        condition = episode.condition or {}
        if time.monotonic() > self.ends:
            return Look(UNKNOWN, f"a look takes longer than {LOOK_SECONDS:g} s")
        if "container" in condition:
            return _observe_container(str(condition["container"]))
        if "watchdog" in condition:
            return _observe_watchdog(condition["watchdog"])
        if "audit" in condition:
            return _observe_audit(str(condition["audit"]))
        if self.client is None:
            origin = cases.prometheus_of(episode)
            where = f"the alert came from {origin}" if origin else "the alert names no Prometheus"
            return Look(UNKNOWN, f"PROMETHEUS_URL is not set ({where})")
        return self._read(self.client, episode)

    def _read(self, client: OneLook, episode: Episode) -> Look:
        try:
            question = question_of(
                client,
                alert_name=episode.alert_name,
                labels=episode.labels,
                expression=cases.expression_of(episode),
                ended=episode.ends_at is not None,
            )
        except ToolError as error:
            return Look(UNKNOWN, str(error), away=client.failed is not None)
        wanted = self.progress.must_be_fresh if self.progress else ()
        own = _selectors(question.expression) if wanted else []
        reading = read_expression(
            client,
            question.expression,
            episode.labels,
            rule_labels=question.rule_labels,
            newer_than=self.progress.newer_than if self.progress else None,
            must_be_fresh=[selector for selector in wanted if selector in own],
            since=episode.starts_at.timestamp(),
        )
        return Look(reading.state, reading.reason, reading.fresh, away=client.failed is not None)


def observe(
    incident: Incident, progress: Progress | None = None, *, alerts: list[Episode] | None = None
) -> Look:
    """Read the alerts of an incident; the worst state of them counts. `alerts`: them, if known."""
    episodes = _latest(cases.alerts_of(incident) if alerts is None else alerts)
    if not episodes:
        return Look(UNKNOWN, "the incident has no alert")
    return _observe(episodes, progress)


def observe_target(incident: Incident, target: Target) -> Look:
    """Is the fault of this target still there? Of the incident's alerts only those about it are read.

    Another one's fault is no reason to change this one. What the sender says of an alert is not asked: it
    resolves what only vanished.
    """
    episodes = [row for row in _latest(cases.alerts_of(incident)) if row.target_id == target.pk]
    if not episodes:
        return Look(UNKNOWN, f"no alert is about {target.key}")
    return _observe(episodes)


def observe_episode(episode: Episode, progress: Progress | None = None) -> Look:
    """Read one alert."""
    return Watcher(progress).look(episode)


def _observe(episodes: list[Episode], progress: Progress | None = None) -> Look:
    window = _window(episodes, progress.looks if progress else 0)
    watcher = Watcher(progress)
    looks = {episode.pk: watcher.look(episode) for episode in window}
    found = list(looks.values())
    worst = next((look for state in (FIRING, UNKNOWN) for look in found if look.state is state), found[0])
    unseen = sum(row.ends_at is None and row.pk not in looks for row in episodes)
    if unseen and worst.state is CLEARED:
        worst = Look(UNKNOWN, f"{unseen} more alerts are firing than are read in one look ({MAX_EPISODES})")
    return replace(
        worst,
        fresh=tuple(dict.fromkeys(each for look in found for each in look.fresh)),
        firing=tuple(pk for pk, look in looks.items() if look.state is FIRING),
        cleared=tuple(pk for pk, look in looks.items() if look.state is CLEARED),
        away=any(look.away for look in found),
    )


def _latest(alerts: list[Episode]) -> list[Episode]:
    """The latest episode of each alert."""
    return list({(row.source, row.fingerprint): row for row in alerts}.values())


def _window(episodes: list[Episode], turn: int = 0) -> list[Episode]:
    """At most MAX_EPISODES of them, others at every turn; those that fire by their sender first."""
    firing = _in_turn([row for row in episodes if row.ends_at is None], MAX_EPISODES, turn)
    ended = [row for row in episodes if row.ends_at is not None]
    return firing + _in_turn(ended, MAX_EPISODES - len(firing), turn)


def _in_turn(rows: list[Episode], room: int, turn: int) -> list[Episode]:
    if len(rows) <= room:
        return rows
    start = turn * room % len(rows)
    return (rows + rows)[start : start + room]


def _range_of(episode: Episode) -> float:
    expression = cases.expression_of(episode)
    try:
        return promql.longest_range(expression) if expression else 0.0
    except promql.PromQLError:
        return 0.0


def _selectors(expression: str) -> list[str]:
    try:
        return promql.selectors(expression)
    except promql.PromQLError:
        return []


def adopt_state_checks(alerts: list[Episode]) -> None:
    """An alert that names no expression, about a container that is down: the container's state is its proof.

    Only when it is seen to be down, and only when the alert itself is about it: an alert about something
    else must not be proved by a container that runs anyway.
    """
    watcher = Watcher()
    for episode in _window(_latest(alerts)):
        target = episode.target
        if (
            episode.condition is not None
            or target is None
            or target.kind != "docker"
            or time.monotonic() > watcher.ends
            or _has_expression(episode, watcher.client)
        ):
            continue
        if _observe_container(target.key).state is FIRING:
            episode.condition = {"container": target.key}
            Episode.objects.filter(pk=episode.pk).update(condition=episode.condition)


def _has_expression(episode: Episode, client: OneLook | None) -> bool:
    """Whether anybody knows the alert's expression; also when the one who would know cannot be asked."""
    if cases.expression_of(episode) is not None:
        return True
    if client is None:
        return bool(episode.generator_url)
    try:
        return bool(client.rule(episode.alert_name))
    except ToolError:
        return True


def never_fired(incident: Incident) -> bool:
    """Whether each alert of an incident was false since before its start, by its expression's history."""
    episodes = list(incident.episodes.order_by("id")[: MAX_FALSE_ALERTS + 1])
    client = Watcher().client
    if client is None or not 0 < len(episodes) <= MAX_FALSE_ALERTS:
        return False
    return all(_never_fired(client, incident, episode) for episode in episodes)


def _never_fired(client: OneLook, incident: Incident, episode: Episode) -> bool:
    if episode.condition is not None and cases.expression_of(episode) is None:
        return False
    try:
        check = check_alert(client, cases.of_episode(incident, episode))
    except ToolError:
        return False
    return check.reading.state is CLEARED and check.was_firing is False


def _observe_watchdog(watchdog: dict[str, str]) -> Look:
    """Whether a watchdog alert, named by source and fingerprint, is heard again; in whatever episode."""
    since = timezone.now() - timedelta(seconds=settings.WATCHDOG_SECONDS)
    if Episode.objects.filter(**watchdog, last_seen_at__gte=since).exists():
        return Look(CLEARED, "the watchdog is heard again")
    return Look(FIRING, f"the watchdog was not heard for {settings.WATCHDOG_SECONDS} s")


def _observe_audit(kind: str) -> Look:
    """Whether work of our own is still stuck."""
    stuck = audit.look().get(kind)
    return Look(FIRING, stuck.summary) if stuck else Look(CLEARED, f"no {kind} is stuck")


def _observe_container(key: str) -> Look:
    """The state check of what our own health check found."""
    try:
        host, name = docker.resolve(key)
        state = docker.inspect_container(host, name)
    except ToolError as error:
        return Look(UNKNOWN, str(error))
    if not state.running or state.status == "restarting":
        return Look(FIRING, f"{key} is {state.status}")
    if state.health not in HEALTHY:
        return Look(FIRING, f"{key} is {state.health}")
    return Look(CLEARED, f"{key} is running" + (" and healthy" if state.health == "healthy" else ""))
