"""What changes came to: for the memory, and as the track record that a Healer is given.

A change was *verified* (the proof said that it helped, and no person said that it was not us), it *failed*
(or did not help), or nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

from django.db.models import Count, Q
from django.utils import timezone

from agents.counts import RECALL
from agents.ledger import VERIFIED
from agents.models import Action, ActionKind, CrewRun, Step, ToolCall
from agents.tools.base import Case
from incidents import rawsql
from incidents.models import Incident
from incidents.redaction import clean

Outcome = Literal["verified", "failed", "unknown"]
FAILED = Q(helped=False) | Q(status=Action.Status.FAILED)
QUOTES = 4
CALLS = 20  # of the memory, that are looked through for the last one that found something
RECALLS = "step_id IN (SELECT id FROM agents_step WHERE run_id = {}) AND tool = {}"
RECORD_DAYS = 30
# So often tried on one target for one alert, and never verified: playbooks propose it no more.
GIVEN_UP_AFTER = 2
SCOPES = {
    "here": "on this target",
    "alike": "for this alert on such targets",
    "recalled": "in the incidents recalled",
}


def facts_of(incident: Incident) -> dict[str, Any]:
    """What the crew knows of an incident beside its row, for the memory. Two statements."""
    done = incident.actions.repairs().select_related("target").order_by("executing_at")
    judged = done.annotate(was_verified=VERIFIED, has_failed=FAILED)
    actions = [
        {"kind": each.kind, "what": str(each), "target": each.target.key, "outcome": _outcome(each)}
        for each in judged
    ]
    analyst = Step.objects.filter(run__incident=incident, agent=Step.Agent.ANALYST, output__isnull=False)
    found = analyst.order_by("-pk").values_list("output", flat=True).first() or {}
    evidence = [claim["quote"] for claim in found.get("claims", ()) if claim["found"]]
    return {"actions": actions, "evidence": evidence[:QUOTES]}


def _outcome(action: Any) -> Outcome:
    """Of an action that was read with `was_verified` and `has_failed`."""
    return "verified" if action.was_verified else "failed" if action.has_failed else "unknown"


def track_record(case: Case, run: CrewRun) -> list[dict[str, Any]]:
    """A row for each kind of change that was tried: `action`, and in each of SCOPES where it was, how often
    it was tried, verified and failed. `here` is a part of `alike`; `recalled` are the incidents that the
    memory gave in this run.
    """
    scopes = {**_counted(case), "recalled": _recalled(run)}
    kinds = sorted({kind for scope in scopes.values() for kind in scope})
    return [
        {"action": kind, **{name: scope[kind] for name, scope in scopes.items() if kind in scope}}
        for kind in kinds
    ]


def _counted(case: Case) -> dict[str, dict[str, dict[str, int]]]:
    """Of this alert within RECORD_DAYS, on this target and on all of its kind, in one statement."""
    found: dict[str, dict[str, dict[str, int]]] = {"here": {}, "alike": {}}
    if case.target is None:
        return found
    since = timezone.now() - timedelta(days=RECORD_DAYS)
    rows = Action.objects.repairs().filter(alert_name=clean(case.alert_name), executing_at__gt=since)
    here = Q(target__key=case.target)
    counts = {
        f"{scope}_{name}": Count("pk", filter=which & what)
        for scope, which in (("here", here), ("alike", Q()))
        for name, what in (("tried", Q(pk__gt=0)), ("verified", VERIFIED), ("failed", FAILED))
    }
    of_kind: Iterable[Any] = rows.filter(target__kind=case.target_kind).values("kind").annotate(**counts)
    for row in of_kind:
        for scope, kinds in found.items():
            if row[f"{scope}_tried"]:
                kinds[row["kind"]] = {
                    name: row[f"{scope}_{name}"] for name in ("tried", "verified", "failed")
                }
    return found


def _recalled(run: CrewRun) -> dict[str, dict[str, int]]:
    """Of the incidents that the memory gave, each once."""
    calls = rawsql.fetch(ToolCall, RECALLS, run.pk, RECALL)
    incidents = {
        each["incident"]: each
        for call in calls
        for each in call.data.get("incidents", ())
        if isinstance(each, dict) and each.get("incident")
    }
    found: dict[str, dict[str, int]] = {}
    for action in (action for each in incidents.values() for action in each.get("actions") or ()):
        tally = found.setdefault(action["kind"], {"tried": 0, "verified": 0, "failed": 0})
        tally["tried"] += 1
        if action["outcome"] in tally:
            tally[action["outcome"]] += 1
    return found


def last_recalled(incident: Incident) -> list[dict[str, Any]]:
    """The past incidents that the crew was shown last: what it judged with, not what would be found today."""
    calls = ToolCall.objects.filter(step__run__incident=incident, tool=RECALL).order_by("-pk")
    for data in calls.values_list("data", flat=True)[:CALLS]:
        found = data.get("incidents")
        shown = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        if shown:
            return shown
    return []


def in_words(record: Iterable[Mapping[str, Any]]) -> list[str]:
    """`restart_container: 3 tried, 2 verified, 1 failed on this target`, a line for each kind."""
    return [
        f"{row['action']}: "
        + "; ".join(f"{_tally(row[scope])} {words}" for scope, words in SCOPES.items() if scope in row)
        for row in record
    ]


def _tally(counts: Mapping[str, int]) -> str:
    told = [f"{counts['tried']} tried", f"{counts['verified']} verified"]
    return ", ".join([*told, *([f"{counts['failed']} failed"] if counts["failed"] else [])])


def given_up(record: Iterable[Mapping[str, Any]], kind: str) -> str | None:
    """Why a kind of change is of no use on this target, or None."""
    for row in record:
        here = row.get("here")
        if row["action"] == kind and here and here["failed"] >= GIVEN_UP_AFTER and not here["verified"]:
            tried = f"{ActionKind(kind).label} was tried {here['tried']} times here in {RECORD_DAYS} days"
            return f"{tried} and never helped"
    return None
