"""Pages of the admin that show no table: what waits for a yes, playbooks, tools, money."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import Avg, Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST, require_safe

from agents import budget, costs, incident_views, playbooks
from agents.actions import SPECS
from agents.forms import RejectionForm
from agents.models import Action, ActionKind, Step, ToolCall
from agents.playbooks import Playbook
from agents.prices import MILLION, price_usd
from agents.reasoners import rungs
from agents.reasoners.playbook import PlaybookReasoner
from agents.reasoners.rungs import Rung
from agents.schemas import schema_of
from agents.tools import REGISTRY
from agents.tools.base import Tool
from incidents.adminbase import LATELY, latest, page
from incidents.models import Verdict

APPROVALS = 50
PRICED_TOKENS = 1_000  # as calls have them: some prices are others for very long ones


def waiting() -> QuerySet[Action]:
    """The questions that nobody has answered yet, late ones too until the watch ends them."""
    return Action.objects.filter(status=Action.Status.AWAITING_APPROVAL)


# --- approvals ---------------------------------------------------------------------------------


@require_safe
def approvals(request: HttpRequest) -> HttpResponse:
    """Each with its dry run and what it would touch, and the yes or no of a person."""
    asked = waiting().select_related("target", "incident__target").order_by("expires_at", "pk")
    rows = list(asked[: APPROVALS + 1])
    return page(
        request,
        "admin/pages/approvals.html",
        "Approvals",
        actions=rows[:APPROVALS],
        more=len(rows) > APPROVALS,
        form=RejectionForm(auto_id=False),
        mode=settings.REMEDIATION_MODE,
    )


@require_POST
def decide(request: HttpRequest, pk: int, decision: str) -> HttpResponse:
    """A person's yes or no, as on the incident's own page; then back to what else waits."""
    if decision not in ("approve", "reject"):
        raise Http404(decision)
    incident = get_object_or_404(Action, pk=pk).incident_id
    incident_views.decide(request, str(incident), str(pk), decision)  # its message says what came of it
    return redirect(f"{admin.site.name}:approvals")


# --- playbooks -----------------------------------------------------------------------------------


@dataclass
class Shelf:
    """A playbook, its file, and how the incidents ended that it diagnosed lately, in words."""

    book: Playbook
    source: str
    used: int = 0
    last: datetime | None = None
    ended: Counter[str] = field(default_factory=Counter)

    @property
    def outcome(self) -> str:
        """`5 verified, 1 false alarm`."""
        return ", ".join(f"{count} {how}" for how, count in self.ended.most_common())


@require_safe
def playbooks_page(request: HttpRequest) -> HttpResponse:
    shelves = {
        book.name: Shelf(book, (playbooks.FOLDER / f"{book.name}.yml").read_text())
        for book in playbooks.load()
    }
    for code, verdict, finished_at in _diagnoses():
        if (shelf := shelves.get(str(code).partition(".")[0])) is not None:
            shelf.used += 1
            shelf.ended[Verdict(verdict).label.lower() if verdict else "still open"] += 1
            shelf.last = max(filter(None, (shelf.last, finished_at)), default=None)
    return page(request, "admin/pages/playbooks.html", "Playbooks", shelves=shelves.values(), lately=LATELY)


def _diagnoses() -> QuerySet[Step, tuple[Any, ...]]:
    """(code, the incident's verdict, time) of the Analyst's newest turns on playbooks."""
    turns = latest(Step).filter(agent=Step.Agent.ANALYST, rung=PlaybookReasoner.rung, output__isnull=False)
    return turns.values_list("output__code", "run__incident__verdict", "finished_at")


# --- tools -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A tool as the catalogue shows it. `lately`: calls, errors and mean seconds of its newest calls."""

    tool: Tool
    configured: bool
    schema: str
    lately: dict[str, Any]


@dataclass(frozen=True)
class Change:
    """A kind of change. `mode`: the owner's word on it; None leaves it to REMEDIATION_MODE."""

    kind: ActionKind
    schema: str
    mode: str | None


@require_safe
def tools_page(request: HttpRequest) -> HttpResponse:
    """What agents may read with, and the changes that pass `authorize()`."""
    failed = Count("pk", filter=~Q(error=""))
    rows = (
        latest(ToolCall)
        .order_by()
        .values("tool")
        .annotate(calls=Count("pk"), errors=failed, mean=Avg("seconds"))
    )
    lately: dict[str, dict[str, Any]] = {row["tool"]: dict(row) for row in rows}
    tools = [
        Shown(tool, tool.integration.configured(), _json(tool.schema), lately.get(tool.name, {}))
        for tool in REGISTRY.values()
    ]
    changes = [
        Change(kind, _json(schema_of(SPECS[kind].arguments)), settings.REMEDIATION_ACTIONS.get(kind))
        for kind in ActionKind
    ]
    return page(
        request,
        "admin/pages/tools.html",
        "Tools",
        tools=tools,
        changes=changes,
        mode=settings.REMEDIATION_MODE,
        lately=LATELY,
    )


def _json(schema: Any) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False, default=dict)


# --- money -----------------------------------------------------------------------------------------


@require_safe
def budgets(request: HttpRequest) -> HttpResponse:
    """The caps, what is spent and what is reserved; which models' prices are known; today by model."""
    today, incident_cap = costs.report(1), settings.LLM_BUDGET_INCIDENT_USD
    models = [
        {
            "rung": rung,
            "price": _price(rung, input_tokens=PRICED_TOKENS),
            "out": _price(rung, output_tokens=PRICED_TOKENS),
        }
        for rung in rungs.configured()
    ]
    return page(
        request,
        "admin/pages/budgets.html",
        "Budgets",
        budgets=[{**each, "cap": budget.shown(each["cap_usd"])} for each in today["budgets"]],
        incident_cap=None if incident_cap is None else budget.shown(Decimal(str(incident_cap))),
        models=models,
        today=today,
    )


def _price(rung: Rung, *, input_tokens: int = 0, output_tokens: int = 0) -> str | None:
    """Of a million tokens; None when nobody knows it."""
    found = price_usd(
        model=rung.model,
        endpoint=rung.endpoint,
        input_tokens=input_tokens,
        cached_tokens=0,
        output_tokens=output_tokens,
    )
    return None if found is None else budget.shown(found * MILLION / PRICED_TOKENS)
