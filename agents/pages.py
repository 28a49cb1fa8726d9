"""What the pages for people show, read from the rows; nothing here asks the world."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import QuerySet

from agents import cases, costs, ledger, pauses, services, transcript
from agents.forms import PauseHereForm, RejectionForm
from agents.models import Action, CrewRun, Pause, Step, ToolCall
from agents.reasoners import rungs
from incidents import channels, liveness, memory, problems
from incidents.access import Caller
from incidents.models import Episode, Incident, Role
from incidents.redaction import clean_tree
from incidents.totals import totals
from incidents.wording import headline, trace_link

OPEN_SHOWN = 50
CLOSED_SHOWN = 10
EARLIER_SHOWN = 5
EVENTS_SHOWN = 500
PROBLEMS_SHOWN = 20


@dataclass(frozen=True)
class Part:
    """One line of "what is configured": `value` None means it is not."""

    name: str
    value: str | None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """An incident in a list."""

    incident: Incident
    headline: str


def overview(caller: Caller) -> dict[str, Any]:
    """The state of everything, what waits for a person, what is open, what ended last."""
    incidents = Incident.objects.select_related("target").newest_first()
    waiting = Action.objects.filter(status=Action.Status.AWAITING_APPROVAL).select_related(
        "target", "incident__target"
    )
    return {
        "may_decide": caller.may(Role.OPERATOR),
        "pause_form": PauseHereForm(initial={"scope": Pause.EVERYTHING}),
        "totals": totals(),
        "memory": memory.status(),
        "dead": liveness.dead(),
        "mode": settings.REMEDIATION_MODE,
        "pauses": pauses.in_force(),
        "waiting": waiting.order_by("expires_at"),
        "earned": _earned(),
        "problems": problems.open_problems()[:PROBLEMS_SHOWN],
        "open": _rows(incidents.unresolved()[:OPEN_SHOWN]),
        "closed": _rows(incidents.closed().order_by("-closed_at")[:CLOSED_SHOWN]),
        "parts": configured(),
        "proof_missing": proof_missing(),
        "version": settings.VERSION,
    }


def _earned(incident: Incident | None = None) -> list[dict[str, Any]]:
    """The offers to ask no more that wait for a person: all, or those about an incident's changes."""
    pairs = ledger.offered()
    if incident is not None and pairs:
        mine = {ledger.key_of(action) for action in incident.actions.select_related("target")}
        pairs = [pair for pair in pairs if (pair.kind, pair.target_kind, pair.alert_name) in mine]
    return [{"pair": pair, "offer": ledger.offer_of(pair)} for pair in pairs]


def _rows(incidents: Iterable[Incident]) -> list[Row]:
    return [Row(incident, _headline(incident)) for incident in incidents]


def _headline(incident: Incident) -> str:
    """With its age while it is open, with how long it was open after that."""
    return headline(incident, now=incident.closed_at)


def configured() -> list[Part]:
    """Every integration, by name and place; never a secret."""
    models = ", then ".join(rung.model for rung in rungs.configured()) or None
    hosts = ", ".join(sorted(settings.DOCKER_HOSTS)) or None
    return [
        Part("Prometheus", place(settings.PROMETHEUS_URL), "proof that something is fixed"),
        Part("Alertmanager", place(settings.ALERTMANAGER_URL), "alerts that no delivery brought"),
        Part("Docker", hosts, "looking at containers, restarting them"),
        Part("Model", models, "without one, playbooks do the work"),
        Part("Telling people", channels.summary(), "NOTIFY_URLS"),
        Part("Qdrant", place(settings.QDRANT_URL) or "in this process", "the memory's index"),
    ]


def place(url: str | None) -> str | None:
    """Scheme, host and port of an address, without the user and password it may hold."""
    if url is None:
        return None
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def proof_missing() -> str | None:
    """Why nothing can be proved: no PROMETHEUS_URL, though alerts name one; None when all is well."""
    if settings.PROMETHEUS_URL is not None:
        return None
    latest = Episode.objects.exclude(generator_url="").order_by("-id").first()
    origin = cases.prometheus_of(latest) if latest else None
    hint = f"; the last alert came from {origin}" if origin else ""
    return f"Proof is unavailable: PROMETHEUS_URL is not set{hint}."


def question(action: Action) -> dict[str, Any]:
    """What who holds a message's link may see: what is asked and why, and how it stands."""
    incident = action.incident
    run = action.step.run
    found = transcript.answer_of(run, Step.Agent.ANALYST, action.step.focus) or {}
    # A watch that goes on has seen something, too, and is not done.
    looks = run.steps.filter(agent=Step.Agent.PROOF, output__isnull=False).order_by("-number")
    return {
        "action": action,
        "incident": incident,
        "headline": headline(incident, now=incident.closed_at, target=action.target),
        "diagnosis": found,
        "quote": next((claim["quote"] for claim in found.get("claims", []) if claim["found"]), ""),
        "proof": looks.values_list("output", flat=True).first() or {},
        "open": action.is_asked,
        "askable": services.may_ask_again(action),
    }


def incident_page(incident: Incident, caller: Caller) -> dict[str, Any]:
    """Everything about one incident. Outputs of tools and models are for operators."""
    may_decide = caller.may(Role.OPERATOR)
    runs = list(_runs(incident))
    return {
        "incident": incident,
        "headline": _headline(incident),
        "trace_link": trace_link(incident),
        "may_decide": may_decide,
        "rejection": RejectionForm(),
        "pause_forms": _pause_forms(incident),
        "episodes": _alerts(incident),
        "askable": _askable(incident),
        "actions": incident.actions.select_related("target").order_by("-id"),
        "earned": _earned(incident),
        "problems": problems.of_incident(incident),
        "times": problems.times(incident),
        "diagnosis": _last_answer(runs, Step.Agent.ANALYST),
        "proof": _last_answer(runs, Step.Agent.PROOF),
        "runs": runs,
        "cost": costs.of_incident(incident),
        "events": incident.events.order_by("-id")[:EVENTS_SHOWN],
        "similar": _similar(runs),
        "earlier": _earlier(incident),
    }


def _pause_forms(incident: Incident) -> list[tuple[str, PauseHereForm]]:
    """A name and a form for the incident's target and its host."""
    if incident.target is None:
        return []
    scopes = (incident.target.key, f"{pauses.HOST_PREFIX}{incident.target.host}")
    return [(scope, PauseHereForm(initial={"scope": scope})) for scope in scopes]


def _runs(incident: Incident) -> QuerySet[CrewRun]:
    return incident.runs.order_by("-number").prefetch_related("steps__tool_calls", "steps__model_calls")


def _askable(incident: Incident) -> int | None:
    """The key of the action that may be proposed anew: the last one, when its question came to nothing."""
    last = incident.actions.select_related("incident").order_by("-id").first()
    return last.pk if last is not None and services.may_ask_again(last) else None


def _alerts(incident: Incident) -> list[Episode]:
    """The alerts as they may be shown: labels and links are kept as their sender wrote them."""
    alerts = list(incident.episodes.select_related("target").order_by("-id")[:EVENTS_SHOWN])
    for alert in alerts:
        for name in ("alert_name", "labels", "annotations", "generator_url"):
            setattr(alert, name, clean_tree(getattr(alert, name)))
    return alerts


def _last_answer(runs: Iterable[CrewRun], agent: Step.Agent) -> dict[str, Any] | None:
    """What an agent said last, in the latest run where it did."""
    for run in runs:
        steps = [step for step in run.steps.all() if step.agent == agent and isinstance(step.output, dict)]
        if steps:
            return dict(max(steps, key=lambda step: step.number).output or {})
    return None


def _similar(runs: Iterable[CrewRun]) -> list[dict[str, Any]]:
    """The past incidents that the crew was shown: what it judged with, not what would be found today."""
    for run in runs:
        for step in run.steps.all():
            for call in step.tool_calls.all():
                if found := _recalled(call):
                    return found
    return []


def _recalled(call: ToolCall) -> list[dict[str, Any]]:
    found = call.data.get("incidents") if call.tool == "recall_incidents" else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _earlier(incident: Incident) -> QuerySet[Incident]:
    """The last incidents of the same alert."""
    same = Incident.objects.filter(alert_name=incident.alert_name, pk__lt=incident.pk)
    return same.select_related("target").newest_first()[:EARLIER_SHOWN]
