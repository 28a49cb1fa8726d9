"""A crew's run as rows, with an action that waits for a person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from agents.models import Action, CrewRun, ModelCall, Step, ToolCall
from incidents.models import Incident, Target
from tests.incidents.rows import a_target, an_episode, an_incident


def a_run(incident: Incident) -> CrewRun:
    """One run: the Analyst's turn with a tool call and a model call, and the Healer's."""
    run = CrewRun.objects.create(incident=incident)
    output = {
        "cause": "out of memory",
        "certainty": "CONFIRMED",
        "claims": [
            {"text": "the kernel killed it", "call_id": "t1", "quote": "Killed process 7", "found": True},
            {"text": "the disk is full", "call_id": "t1", "quote": "no space left", "found": False},
        ],
        "dropped": ["a crash loop"],
        "code": "",
    }
    analyst = Step.objects.create(
        run=run, agent=Step.Agent.ANALYST, state="done", rung="model", output=output
    )
    ToolCall.objects.create(
        step=analyst,
        call_id="t1",
        tool="container_logs",
        arguments={"container": "jellyfin"},
        output="secret-looking output: Killed process 7",
        seconds=0.2,
    )
    ModelCall.objects.create(
        step=analyst,
        model="gpt-4o-mini",
        endpoint="http://model",
        request={"messages": ["secret-looking prompt"]},
        response={"choices": []},
        input_tokens=900,
        seconds=1.5,
    )
    Step.objects.create(run=run, agent=Step.Agent.HEALER, state="done")
    return run


def an_action(incident: Incident | None = None, target: Target | None = None, **fields: Any) -> Action:
    """A restart that waits for a person's yes, of an incident that waits too."""
    target = target or Target.objects.first() or a_target()
    if incident is None:
        incident = an_incident(status="awaiting_approval", target=target)
        an_episode(incident)
    run = incident.runs.first() or a_run(incident)
    return Action.objects.create(
        **{
            "incident": incident,
            "step": run.steps.get(agent=Step.Agent.HEALER),
            "kind": "restart_container",
            "target": target,
            "host": target.host,
            "reason": "it was killed",
            "status": Action.Status.AWAITING_APPROVAL,
            "digest": "0" * 64,
            "decision": [{"effect": "ask", "code": "approve", "text": "REMEDIATION_MODE is approve"}],
            "expires_at": timezone.now() + timedelta(minutes=15),
            **fields,
        }
    )
