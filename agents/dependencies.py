"""What this program stands on, as it was last found by the health check, a poll, a breaker or a worker.

Nothing is asked here, so a page that shows it never waits for anybody. What nobody has looked at is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from agents import audit, reconcile
from agents.models import Breaker, ModelCall
from agents.reasoners import breaker, rungs
from incidents import channels, liveness, memory, turns
from incidents.models import Job, MemoryEntry, Notification, Turn
from incidents.queue import State as QueueState

State = Literal["ok", "failing", "unknown", "off"]
HEALTH_CHECK = "health_check"
LATEST = 50  # calls and messages that are looked through for the last one of a model or a channel
STALE_CHECKS = 3  # a finding that is older than so many checks says nothing of today
GRACE = timedelta(minutes=2)
FRESH = timedelta(days=1)  # so long a call, a message or an entry says how its server is
WORDS: dict[State, str] = {
    "ok": "Works",
    "failing": "Fails",
    "unknown": "Unknown",
    "off": "Not set up",
}


@dataclass(frozen=True)
class Dependency:
    """`at`: when that was found; None when it is so now, or nobody has looked."""

    name: str
    state: State
    detail: str
    at: datetime | None = None

    @property
    def words(self) -> str:
        return WORDS[self.state]


def all_of_them() -> list[Dependency]:
    """In the order of an alert's way. The number of queries depends on what is set up, not on the rows."""
    job_rows = {
        job.name: job for job in Job.objects.filter(name__in=(HEALTH_CHECK, reconcile.JOB, audit.JOB))
    }
    return [
        _alertmanager(job_rows),
        _checked("Prometheus", "prometheus", settings.PROMETHEUS_URL, job_rows, "proves what is fixed"),
        _docker(job_rows),
        *_models(),
        *_channels(),
        _memory(),
        *_parts(),
        _listener(job_rows),
    ]


def place(url: str | None) -> str | None:
    """Scheme, host and port of an address, without the user and password it may hold."""
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _checked(name: str, key: str, url: str | None, job_rows: dict[str, Job], purpose: str) -> Dependency:
    """What the health check found of one integration."""
    where = place(url)
    if where is None:
        return Dependency(name, "off", purpose)
    return _as_found(name, key, where, job_rows.get(HEALTH_CHECK))


def _is_stale(at: datetime, every: float) -> bool:
    """Whether what is looked at each so many seconds has not been since, so that it says nothing of today."""
    return timezone.now() - at > timedelta(seconds=STALE_CHECKS * every) + GRACE


def _as_found(name: str, key: str, where: str, check: Job | None) -> Dependency:
    result: dict[str, Any] = (check.result or {}) if check else {}
    at = check.last_finished_at if check else None
    if at is None:
        return Dependency(name, "unknown", f"{where}: not looked at yet")
    if _is_stale(at, settings.HEALTH_CHECK_SECONDS):
        return Dependency(name, "unknown", f"{where}: the health check has not run since", at)
    if (error := result.get("errors", {}).get(key)) is not None:
        return Dependency(name, "failing", str(error), at)
    if key not in result.get("findings", {}):
        return Dependency(name, "unknown", f"{where}: not looked at yet")
    return Dependency(name, "ok", where, at)


def _alertmanager(job_rows: dict[str, Job]) -> Dependency:
    """What the last poll of its list came to."""
    where = place(settings.ALERTMANAGER_URL)
    if where is None:
        return Dependency("Alertmanager", "off", "alerts that no delivery brought")
    poll = job_rows.get(reconcile.JOB)
    result: dict[str, Any] = (poll.result or {}) if poll else {}
    answered = [datetime.fromisoformat(each) for each in result.get("polls", [])]
    last = answered[-1] if answered else None
    tried = poll.last_finished_at if poll else None
    if (error := result.get("error")) and tried and not _is_stale(tried, settings.RECONCILE_SECONDS):
        return Dependency("Alertmanager", "failing", str(error), tried)
    if last is None:
        return Dependency("Alertmanager", "unknown", f"{where}: not polled yet")
    if _is_stale(last, settings.RECONCILE_SECONDS):
        return Dependency("Alertmanager", "unknown", f"{where}: not polled since", last)
    return Dependency("Alertmanager", "ok", where, last)


def _docker(job_rows: dict[str, Job]) -> Dependency:
    hosts = ", ".join(sorted(settings.DOCKER_HOSTS))
    if not hosts:
        return Dependency("Docker", "off", "looks at containers and restarts them")
    return _as_found("Docker", "docker", hosts, job_rows.get(HEALTH_CHECK))


def _models() -> Iterator[Dependency]:
    """By their breakers, and by the last calls."""
    configured = rungs.configured()
    if not configured:
        yield Dependency("Model", "off", "playbooks do the work")
        return
    calls = list(
        ModelCall.objects.order_by("-pk").values("model", "endpoint", "error", "seconds", "started_at")[
            :LATEST
        ]
    )
    for rung in configured:
        name, about = rung.name.capitalize(), f"{rung.model} at {place(rung.base_url)}"
        mine = [call for call in calls if (call["model"], call["endpoint"]) == (rung.model, rung.endpoint)]
        yield _model(
            name, about, breaker.trouble(rung), next((c for c in mine if c["seconds"] is not None), None)
        )


def _model(name: str, about: str, trouble: Breaker | None, last: Mapping[str, Any] | None) -> Dependency:
    at = last["started_at"] if last else None
    if why := breaker.is_open(trouble):
        return Dependency(name, "failing", f"{about}: {why}", at)
    if last is None:
        return Dependency(name, "unknown", f"{about}: not asked lately")
    if timezone.now() - last["started_at"] > FRESH:
        return Dependency(name, "unknown", f"{about}: not asked since", at)
    if trouble is not None or last["error"]:
        why = trouble.reason if trouble else "the last call failed"
        return Dependency(name, "failing", f"{about}: {why}", at)
    return Dependency(name, "ok", about, at)


def _channels() -> Iterator[Dependency]:
    """By what was sent, and by what waits after it failed."""
    names = [name for name, _url in [*channels.channels(), *channels.escalation_channels()]]
    if not names:
        yield Dependency("Messages", "off", "nobody is told (NOTIFY_URLS)")
        return
    stuck = Notification.objects.filter(state=QueueState.WAITING, attempts__gt=0, channel__in=names)
    failing = dict(stuck.order_by().values_list("channel").annotate(Max("error")))
    sent: dict[str, datetime] = {}
    for channel, at in Notification.objects.order_by("-pk").values_list("channel", "sent_at")[:LATEST]:
        if at is not None:
            sent[channel] = max(at, sent.get(channel, at))
    for name in names:
        if name in failing:
            yield Dependency(name, "failing", failing[name] or "messages wait", sent.get(name))
        elif name in sent and timezone.now() - sent[name] > FRESH:
            yield Dependency(name, "unknown", "nothing was sent since", sent[name])
        elif name in sent:
            yield Dependency(name, "ok", "took the last message", sent[name])
        else:
            yield Dependency(name, "unknown", "nothing was sent lately")


def _memory() -> Dependency:
    """In this process it can be asked; a server is known by what was last written to it."""
    where = place(settings.QDRANT_URL)
    if where is None:
        loaded = memory.status()
        detail = "in this process, is being built" if loaded == "building" else "in this process"
        return Dependency("Memory", "failing" if loaded == "disconnected" else "ok", detail)
    refused = MemoryEntry.objects.filter(state=QueueState.WAITING, attempts__gt=0).order_by("-due_at")
    error = refused.values_list("error", flat=True).first()
    written = MemoryEntry.objects.order_by("-pk").values_list("synced_at", flat=True)[:LATEST]
    at = max(filter(None, written), default=None)
    if error is not None:
        return Dependency("Memory", "failing", f"{where}: {error or 'entries wait'}", at)
    if at is None:
        return Dependency("Memory", "unknown", f"{where}: nothing written yet")
    if timezone.now() - at > FRESH:
        return Dependency("Memory", "unknown", f"{where}: nothing was written since", at)
    return Dependency("Memory", "ok", where, at)


def _parts() -> Iterator[Dependency]:
    """The parts of this program that work beside the web server, by their heartbeats."""
    dead = liveness.dead()
    keys = [f"{turns.HEARTBEAT}{part}" for part in ("worker", "beat")]
    beats = dict(Turn.objects.filter(pk__in=keys).values_list("pk", "until"))
    for key, name in zip(keys, ("Worker", "Beat"), strict=True):
        until = beats.get(key)
        at = until - timedelta(seconds=turns.HEARTBEAT_SECONDS) if until else None
        if name.lower() in dead:
            yield Dependency(name, "failing", "not running", at)
        elif at is None:
            yield Dependency(name, "unknown", "not seen at work yet")
        elif timezone.now() - at > GRACE:
            yield Dependency(name, "failing", "not seen at work since", at)
        else:
            yield Dependency(name, "ok", "at work", at)


def _listener(job_rows: dict[str, Job]) -> Dependency:
    """Who misses us when we are dead."""
    if settings.HEARTBEAT_URL is None:
        return Dependency("Heartbeat", "off", "nobody outside misses us (HEARTBEAT_URL)")
    job = job_rows.get(audit.JOB)
    result: dict[str, Any] = (job.result or {}) if job else {}
    at = job.last_finished_at if job else None
    if at is None:
        return Dependency("Heartbeat", "unknown", "not given yet")
    if _is_stale(at, audit.EVERY_SECONDS):
        return Dependency("Heartbeat", "failing", "not given since", at)
    if stuck := result.get("stuck"):
        return Dependency("Heartbeat", "failing", f"withheld, work is stuck: {', '.join(stuck)}", at)
    said = result.get("heartbeat")
    if said in ("ok", None):  # None: it was given a moment ago, by another turn
        return Dependency("Heartbeat", "ok", "was given", at)
    return Dependency("Heartbeat", "failing", str(said), at)
