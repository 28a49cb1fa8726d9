"""The crew with a real model that is far too weak for it: it is understood, judged, and does no harm.

Nothing here says how well it answers, only that whatever it answers is taken rightly.
"""

from __future__ import annotations

import io
import re

import pytest
from django.core.management import CommandError, call_command

from agents import cases, reasoners
from agents.answers import Triage
from agents.loop import Brief
from agents.models import Action, Breaker, ModelCall, Step
from agents.reasoners import dialects, rungs
from agents.tools import available
from homelab import fitness
from incidents.memory.embed import MiniLM
from incidents.memory.sync import sync
from incidents.models import Event, MemoryEntry
from tests.agents.conftest import a_step
from tests.e2e.require import require
from tests.e2e.world import drive_to_end, timeline, world

from .conftest import Start

pytestmark = [pytest.mark.e2e, pytest.mark.django_db]
MINUTES = 60.0


@pytest.fixture(autouse=True)
def patient(settings) -> None:
    """A core that others want, too, makes less than ten tokens a second."""
    settings.OPENAI_TIMEOUT_SECONDS = 1.5 * MINUTES


def think(step: Step) -> Triage:
    brief = Brief("monitor", cases.build(step.run.incident), Triage, tuple(available()), {"reading": None})
    return reasoners.think(step, brief)


def told() -> str:
    """Each call to the model in a line."""
    lines = []
    for call in ModelCall.objects.order_by("id"):
        asked = [name for name in ("tools", "tool_choice", "response_format") if name in call.request]
        speed = f"{(call.output_tokens or 0) / call.seconds:.1f} tokens/s" if call.seconds else ""
        lines.append(f"{call.step} {asked}: {call.input_tokens} + {call.output_tokens} tokens, {speed}")
        lines.append(f"    {call.error or call.response['choices'][0]['message']}")
    return "\n".join(lines)


def dialect() -> dialects.Dialect:
    return dialects.of(rungs.configured()[0])


@pytest.mark.parametrize("chat_format", [None, "chatml-function-calling"])
def test_a_step_is_answered_by_the_model_or_says_why_not(model: Start, chat_format: str | None) -> None:
    """With the model's own template, which knows no tools, and with the server's own way to call them."""
    model(chat_format=chat_format)
    step = a_step("f", "critical")
    answer = think(step)
    print(f"{told()}\n{step.rung}: {step.rung_reason}\n{dialect()}")
    assert answer.summary
    assert (step.rung, bool(step.rung_reason)) in {("model", False), ("playbooks", True)}
    answered = ModelCall.objects.filter(error="")
    assert answered.exists()
    # it may write without end, until its time is over; but it is understood
    assert "the model's server answered" not in step.rung_reason
    assert all(call.input_tokens and call.output_tokens for call in answered)


def test_the_doctor_judges_it_by_three_tasks(model: Start) -> None:
    model()
    out, failure = io.StringIO(), ""
    try:
        call_command("doctor", stdout=out)
    except CommandError as error:
        failure = str(error)
    [line] = [each for each in out.getvalue().splitlines() if each.split()[1] == "model"]
    print(line)
    verdict = re.match(
        r"(ok|FAILS) +model +(fit|not fit \(.*\)): (\d) of 3 tasks, (\d+) calls, .* tokens, ", line
    )
    assert verdict, line
    word, said, passed, calls = verdict.groups()
    assert int(calls) >= 3
    assert (word, failure) == (("ok", "") if said == "fit" else ("FAILS", "configured, but failing: model"))
    failed = [task.name for task in fitness.TASKS if f"{task.name}: " in said]
    assert int(passed) + len(failed) == len(fitness.TASKS)


def test_a_context_that_is_too_small_is_said_and_no_fault_of_the_server(model: Start) -> None:
    model(context=256)
    step = a_step("f", "critical")
    think(step)
    print(step.rung_reason)
    assert step.rung == "playbooks"
    assert "maximum context length is 256 tokens" in step.rung_reason
    assert ModelCall.objects.count() == 1  # no simpler form would be shorter
    assert not Breaker.objects.exists()
    trial = fitness.try_out(rungs.configured()[0])
    print(trial)
    assert [each.partition(":")[0] for each in trial.failures] == [task.name for task in fitness.TASKS]
    assert all("maximum context length is 256 tokens" in each for each in trial.failures)


def test_an_incident_ends_as_with_any_model(model: Start, settings, tmp_path) -> None:
    require("prometheus", "docker", "busybox")
    server = model()
    settings.REMEDIATION_MODE = "auto"
    settings.PROOF_HOLD_SECONDS, settings.PROOF_TIMEOUT_SECONDS = 3, 8
    with world(tmp_path / "world", ["killed", "other"]) as built:
        settings.PROMETHEUS_URL = built.prometheus.url
        settings.DOCKER_HOSTS = {"test": built.docker.url}
        killed, other = built.services["killed"], built.services["other"]
        before = built.docker.client.containers.get(other.name).attrs["State"]["StartedAt"]
        built.docker.kill_process(killed.name)
        built.wait_up(killed, "0")
        incident = drive_to_end(built.post(killed), timeout=15 * MINUTES)
        print(f"{timeline(incident)}\n{told()}\n{dialect()}")
        after = built.docker.client.containers.get(other.name).attrs["State"]["StartedAt"]

    assert incident.verdict
    assert incident.root_cause
    thought = Step.objects.filter(run__incident=incident, agent__in=reasoners.THINKERS)
    for step in thought:
        print(f"{step}: {step.rung}: {step.rung_reason}")
        assert (step.rung, bool(step.rung_reason)) in {("model", False), ("playbooks", True)}
        for claim in (step.output or {}).get("claims", []):
            read = step.tool_calls.filter(output__contains=claim["quote"])
            assert not claim["found"] or read.exists()
    # what was done was decided by authorize(), to what broke, once
    assert before == after
    assert {action.target.name for action in Action.objects.all()} <= {killed.name}
    done = incident.events.filter(kind=Event.Kind.EXECUTED).count()
    assert done <= 1
    assert incident.events.filter(kind=Event.Kind.ALLOWED, actor="authorize").count() >= done
    calls = ModelCall.objects.filter(error="")
    assert calls.count() <= settings.INCIDENT_STEPS
    # the model was asked for words only
    assert "/v1/chat/completions" in server.log()
    sync(MemoryEntry.objects.get(incident=incident).pk)
    assert MemoryEntry.objects.get(incident=incident).model == MiniLM().name
    assert "/v1/embeddings" not in server.log()
