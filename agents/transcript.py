"""What an agent saw, as rows: written as it happens, read back for the evidence check and the next agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet

from agents.loop import Observation
from agents.models import CrewRun, Step, ToolCall
from incidents import rawinsert, rawsql
from incidents.models import Incident, Target
from incidents.queue import State
from incidents.redaction import clean_tree

RUNBOOKS = "search_runbooks"
# What they say is not about this incident, so it confirms nothing.
HEARSAY = frozenset({"recall_incidents", RUNBOOKS})

LAST = """
SELECT id, run_id, output, rung, rung_reason FROM agents_step
WHERE run_id = %s AND agent = %s AND state = 'done' AND output IS NOT NULL {about}
ORDER BY number DESC LIMIT 1"""
OUTPUTS = """
SELECT call_id, tool, output FROM agents_toolcall
WHERE step_id IN (SELECT id FROM agents_step WHERE run_id = {}) AND NOT step_id {} ORDER BY id"""


def recorder(step: Step) -> Callable[[Observation], None]:
    """Writes each observation of a step as a row, at once."""

    def record(observation: Observation) -> None:
        call = ToolCall(
            step=step,
            attempt=step.fence,
            call_id=observation.request.id,
            tool=observation.request.tool,
            arguments=clean_tree(observation.request.arguments or {}),
            output=observation.full,
            data=dict(observation.data),
            shown=len(observation.text),
            error=observation.error,
            seconds=observation.seconds,
        )
        rawinsert.insert([call])

    return record


def outputs(run: CrewRun, *, but: Step | None = None) -> tuple[dict[str, str], set[str]]:
    """Call id to whole stored output, of every step of a run but one; and which of them are hearsay."""
    rows = rawsql.rows(OUTPUTS, run.pk, [but.pk] if but else [])
    return {pk: output for pk, _, output in rows}, {pk for pk, tool, _ in rows if tool in HEARSAY}


def answer_of(run: CrewRun, agent: Step.Agent, focus: Target | None = None) -> dict[str, Any] | None:
    """An agent's last typed answer in a run, about one target when that is given."""
    step = last(run, agent, focus)
    return step.output if step else None


def last(run: CrewRun, agent: Step.Agent, focus: Target | None = None) -> Step | None:
    """An agent's last answered step, about one target when that is given. Not loaded: its long brief."""
    about, targets = ("AND focus_id = %s", [focus.pk]) if focus else ("", [])
    found = Step.objects.raw(LAST.format(about=about), [run.pk, agent.value, *targets])
    return next(iter(found), None)


def causes() -> QuerySet[Step]:
    """The Analysts' answers that name a cause, surely or likely. With its first, an incident is diagnosed."""
    named = Step.objects.filter(agent=Step.Agent.ANALYST, state=State.DONE)
    return named.filter(output__certainty__in=("CONFIRMED", "LIKELY"))


def last_look(incident: Incident) -> dict[str, Any]:
    """What the proof's last look at an incident saw; empty before its first."""
    looks = Step.objects.filter(run__incident=incident, agent=Step.Agent.PROOF, output__isnull=False)
    return looks.order_by("-pk").values_list("output", flat=True).first() or {}
