"""What may happen to a home, from an alert to its end: each life is lived until its process is killed, and
then once more from its beginning, by another process, on what the first one left.

So each says what somebody wants, not what comes next: `Home.ask` asks only for what was not answered yet, and
what is waited for stays true once it was.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from agents import advance, wiring
from agents.models import Action, Autonomy, Step
from incidents import access, jobs, leases, memory, notifications, queue, quiet, services, tally
from incidents.alertmanager import label_fingerprint
from incidents.memory.keep import Given, keep
from incidents.models import (
    Episode,
    Event,
    Incident,
    Job,
    MemoryEntry,
    Notification,
    Problem,
    Target,
    Token,
    Verdict,
)
from incidents.queue import State
from tests.crash.home import Home
from tests.crash.world import HOST, NAME
from tests.incidents.rows import an_incident

Life = Callable[[Home], None]
LABELS = {"alertname": "ContainerDown", "severity": "critical", "container": NAME}
ZERO_TIME = "0001-01-01T00:00:00Z"


def alert(home: Home, what: str = "firing", *, ends: str = ZERO_TIME) -> None:
    """Alertmanager's delivery; `what` is this delivery's own name, and its first word the alert's status."""
    one: dict[str, Any] = {
        "status": what.partition(" ")[0],
        "labels": LABELS,
        "annotations": {"summary": "the container is down"},
        "startsAt": home.began,
        "endsAt": ends,
        "fingerprint": label_fingerprint(LABELS),
    }
    body = {"version": "4", "groupKey": "crash", "status": one["status"], "alerts": [one]}
    home.ask(what, "/alert", body, role="ingest")


def resolved(home: Home) -> None:
    alert(home, "resolved", ends=timezone.now().isoformat())


def closed() -> bool:
    return Incident.objects.exists() and not Incident.objects.unresolved().exists()


def asked() -> Action | None:
    """The first question that people were asked."""
    return Action.objects.order_by("pk").first()


def dead() -> QuerySet[Notification]:
    return Notification.objects.filter(state=State.DEAD)


def said(kind: Event.Kind) -> bool:
    return Event.objects.filter(kind=kind).exists()


def on_action(home: Home, decision: str, body: Any = None) -> None:
    action = asked()
    assert action is not None
    home.ask(decision, f"/api/v1/actions/{action.pk}/{decision}", body)


def on_incident(home: Home, what: str, body: Any = None) -> None:
    home.ask(what, f"/api/v1/incidents/{Incident.objects.get().pk}/{what}", body)


def fixed(home: Home) -> None:
    """The crew restarts what crashed, without being asked; the sender says that it is over."""
    settings.REMEDIATION_MODE = "auto"
    alert(home)
    home.until(closed, "closed")
    resolved(home)
    home.until_quiet()


def approved(home: Home) -> None:
    """A person says yes, and what it was; later it is said to fire on, and does not."""
    alert(home)
    home.until(asked, "asked")
    on_incident(home, "acknowledge")
    on_action(home, "approve")
    home.until(closed, "closed")
    on_incident(home, "annotate", {"cause": "a bad image"})
    alert(home, "firing on")
    home.until(lambda: said(Event.Kind.CONTESTED), "contested")
    home.until(lambda: not Episode.objects.contested().exists(), "settled")
    home.until_quiet()


def refused(home: Home) -> None:
    """A person says no, wants to be asked again and lets it pass, and then closes the incident."""
    settings.APPROVAL_SECONDS = 30
    alert(home)
    home.until(asked, "asked")
    on_action(home, "reject", {"reason": "not now"})
    home.until(lambda: not home.live_of(Step.Agent.HEALER), "the crew rests")
    on_action(home, "ask-again")
    home.until(lambda: Action.objects.filter(status=Action.Status.EXPIRED).exists(), "let pass")
    on_incident(home, "annotate", {"verdict": "resolved_by_human"})
    home.until_quiet()


def unmodelled(home: Home) -> None:
    """The model is configured and away: the playbooks take its place."""
    settings.OPENAI_BASE_URL = f"{home.world_url}/v1"
    alert(home)
    home.until(asked, "asked")
    on_incident(home, "annotate", {"verdict": "resolved_by_human"})
    home.until_quiet()


def paused(home: Home) -> None:
    """A pause comes between the yes and what it allowed."""
    alert(home)
    home.until(asked, "asked")
    everything = {"scope": "*", "reason": "maintenance"}
    home.ask("pause", "/api/v1/pauses", everything)
    on_action(home, "approve")
    home.until(lambda: not Action.objects.filter(status__in=Action.OPEN).exists(), "stopped")
    home.ask("lift", "/api/v1/pauses/1/lift")
    on_incident(home, "annotate", {"verdict": "false_alarm"})
    home.until_quiet()


def taken(home: Home) -> None:
    """A person has it before the crew began, lets the crew ask, and then has it again; and keeps a window."""
    alert(home)
    on_incident(home, "take-over")
    home.until(Step.objects.filter(agent=Step.Agent.PROOF).exists, "watched")
    on_incident(home, "give-back")
    home.until(asked, "asked")
    home.ask("window", "/api/v1/maintenance-windows", {"scope": "*", "starts": "00:00", "minutes": 1})
    home.ask("again", f"/api/v1/incidents/{Incident.objects.get().pk}/take-over")
    home.until(lambda: not Action.objects.filter(status__in=Action.OPEN).exists(), "withdrawn")
    home.ask("end", "/api/v1/maintenance-windows/1/end")
    on_incident(home, "annotate", {"verdict": "resolved_by_human"})
    home.until_quiet()


def waited(home: Home) -> None:
    """The alert usually heals itself, so the Healer waits; a person says meanwhile that it need not ask."""
    home.do("learnt", learnt)
    home.ask("raise", f"/api/v1/autonomy/{Autonomy.objects.get().pk}/raise")
    alert(home)
    home.until(Step.objects.filter(waits_since__isnull=False).exists, "waiting")
    now = Incident.objects.latest("pk").pk
    home.ask("annotate", f"/api/v1/incidents/{now}/annotate", {"verdict": "resolved_by_human"})
    home.until_quiet()


def learnt() -> None:
    """What is known of the alert from before, once."""
    if Autonomy.objects.exists():
        return
    target, _ = Target.objects.get_or_create(key=f"docker:{HOST}/{NAME}", kind="docker", host=HOST, name=NAME)
    for _ in range(5 - Incident.objects.count()):
        with transaction.atomic():
            an_incident(
                Verdict.CLEARED_BEFORE_ACTION,
                seconds=40,
                target=target,
                alert_name=LABELS["alertname"],
                closed_at=timezone.now(),
            )
    Autonomy.objects.create(kind="restart_container", target_kind="docker", alert_name=LABELS["alertname"])


def recurred(home: Home) -> None:
    """It is the third time: a problem, of which a person says something, and then that it is over."""
    settings.REMEDIATION_MODE = "observe"
    home.do("twice", happened_twice)
    alert(home)
    now = Incident.objects.latest("pk").pk
    home.ask("annotate", f"/api/v1/incidents/{now}/annotate", {"verdict": "resolved_by_human"})
    home.until(Problem.objects.exists, "raised")
    home.ask("note", "/api/v1/problems/1/note", {"note": "a disk was ordered"})
    home.ask("over", "/api/v1/problems/1/close")
    runbook = Given.redacted("runbook:web.md", MemoryEntry.Kind.RUNBOOK, title="web", text="look", payload={})
    home.do("runbook", lambda: keep([runbook]))
    home.do("folded", lambda: tally.fold(1))
    home.until_quiet()


def happened_twice() -> None:
    target, _ = Target.objects.get_or_create(key=f"docker:{HOST}/{NAME}", kind="docker", host=HOST, name=NAME)
    for _ in range(2 - Incident.objects.count()):
        with transaction.atomic():
            name, now = LABELS["alertname"], timezone.now() - timedelta(hours=1)
            memory.remember(an_incident(Verdict.UNKNOWN, target=target, alert_name=name, closed_at=now))


def stranded(home: Home) -> None:
    """The Analyst breaks each time, until its step is dead; the watch goes on without it."""

    def broken(step: Step) -> None:
        raise Broken("no analysis today")

    advance.HANDLERS[Step.Agent.ANALYST] = broken
    home.expected = (Broken,)
    alert(home)
    home.until(lambda: Step.objects.filter(agent=Step.Agent.PROOF).exists(), "watched")
    resolved(home)
    home.until(closed, "closed")
    home.until_quiet()


class Broken(Exception):
    """What a life is about, no defect."""


def slept(home: Home) -> None:
    """Nobody answers a critical in a night, so the next channel is told; what can wait waits for its end."""
    settings.REMEDIATION_MODE, settings.ESCALATE_MINUTES = "observe", 1
    settings.ESCALATION_URLS = settings.NOTIFY_URLS
    began = datetime.fromisoformat(home.began)
    night = [began - timedelta(hours=1), began + timedelta(minutes=5)]
    settings.QUIET_HOURS = quiet.parse("-".join(moment.strftime("%H:%M") for moment in night))
    for title in ("one", "two"):
        home.do(title, lambda title=title: can_wait(title))
    alert(home)
    levels = Notification.objects.filter(kind=Notification.Kind.ESCALATION, sent_at__isnull=False)
    home.until(lambda: levels.count() == 2, "told to all levels")
    on_incident(home, "annotate", {"verdict": "resolved_by_human"})
    home.until_quiet()


def can_wait(title: str) -> None:
    notifications.tell_once(None, Notification.Kind.UPDATE, title=title, body="it can wait", transition=title)


def heard(home: Home) -> None:
    """People say more than yes and no: what they think of the cause, that others shall come, that it is over,
    and that the crew shall look again, and tell it in a model's words.
    """
    settings.REMEDIATION_MODE = "observe"
    settings.ESCALATION_URLS = settings.NOTIFY_URLS
    alert(home)
    home.until(Incident.objects.exclude(root_cause=None).exists, "diagnosed")
    on_incident(home, "rate", {"rating": "wrong"})
    on_incident(home, "notes", {"text": "the disk is full"})
    on_incident(home, "escalate", {"why": "I am away"})
    on_incident(home, "resolve")
    on_incident(home, "postmortem")
    told = Step.objects.filter(agent=Step.Agent.POSTMORTEM, state=State.DONE)
    home.until(told.exists, "the postmortem is told")
    on_incident(home, "investigate-again")
    home.until(Step.objects.filter(run__number=2, agent=Step.Agent.PROOF).exists, "looked at again")
    home.ask("over", f"/api/v1/incidents/{Incident.objects.get().pk}/resolve")
    home.until_quiet()


def silent(home: Home) -> None:
    """The chat takes nothing, until a message is dead; a person tries it again, and then gives it up."""
    settings.REMEDIATION_MODE = "observe"
    Notification.MAX_ATTEMPTS = 2
    alert(home)
    if not home.has("gave up"):
        home.world("chat", 503)
    home.until(lambda: home.has("retried") or dead().exists(), "dead")
    home.do("retried", lambda: [services.retry(row, by="robin") for row in dead()])
    given_up = Notification.objects.filter(error__startswith="given up")
    home.until(lambda: given_up.exists() or dead().exists(), "dead again")
    home.do("gave up", lambda: [services.give_up(row, by="robin") for row in dead()])
    home.world("chat", 200)
    on_incident(home, "annotate", {"verdict": "resolved_by_human"})
    home.until_quiet()


def polled(home: Home) -> None:
    """What nobody delivered is found in Alertmanager's list, and is over when it is listed no longer."""
    settings.ALERTMANAGER_URL, settings.RECONCILE_SECONDS = home.world_url, 10
    wiring.connect()
    home.do("ensured", jobs.ensure)
    home.until(Incident.objects.exists, "adopted")
    home.world("listed", 0)
    home.until(closed, "closed")
    home.do("rebuilding", lambda: call_command("rebuild_memory", "--no-wait", stdout=StringIO()))
    home.until(Job.objects.filter(name="rebuild_memory", state=State.DONE).exists, "rebuilt")
    home.until_quiet()


def kept(home: Home) -> None:
    """What the server does beside incidents: tokens, jobs, and what a worker's end and start give back."""
    robin = Token.objects.filter(name="robin")
    home.do("made", lambda: robin.exists() or access.create_token(name="robin", role="viewer", by="admin"))
    home.do("revoked", lambda: access.revoke_token(robin.get(), by="admin"))
    home.do("ensured", jobs.ensure)
    home.ask("checked", "/trigger-health-check")
    home.do("held", lambda: Job.queue.claim(Job.objects.get(name="audit").pk) and leases.renew())
    home.do("ended", queue.release_held)
    home.do("began", queue.release_orphans)
    ran = Job.objects.filter(last_finished_at__isnull=False)
    home.until(lambda: ran.count() == Job.objects.count(), "run")


LIVES: dict[str, Life] = {
    each.__name__: each
    for each in (
        fixed,
        approved,
        refused,
        paused,
        taken,
        waited,
        unmodelled,
        recurred,
        stranded,
        slept,
        heard,
        silent,
        polled,
        kept,
    )
}
