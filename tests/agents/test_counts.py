"""What the crew's turns and calls count: each once, by names that are ours."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from agents import advance, counts, services
from agents.models import ModelCall, Step, ToolCall
from agents.reasoners.calls import Call, _settle
from agents.reasoners.rungs import Rung
from incidents import queue, tally
from incidents.models import Incident
from tests.agents.test_wire import submit, think
from tests.e2e import openai_server as oai
from tests.incidents.rows import an_episode, an_incident

pytestmark = pytest.mark.django_db
RUNG = Rung("model", "gpt-4o-mini", "http://model/v1", None, "OPENAI_API_KEY")
HOURS = timedelta(hours=9)


def counted(*names: str) -> dict[tuple[str, ...], int]:
    return {series: amount for series, amount in tally.read().items() if series[0] in names}


def reads(step: Step, times: int) -> None:
    """Readings of a turn, as it leaves them."""
    step.brief = {"tools": []}
    for n in range(times):
        ToolCall.objects.create(
            step=step, attempt=step.fence, call_id=f"c{n}", tool="docker_logs", seconds=0.01
        )


@pytest.fixture
def monitor() -> Step:
    """The first step of a run, which waits for its turn."""
    incident = an_incident(status="new")
    an_episode(incident)
    run = services.start_run(incident.pk)
    assert run is not None
    return run.steps.get()


def turns(monkeypatch: pytest.MonkeyPatch, step: Step, *, readings: int, dies: bool) -> None:
    """The step's turn: it reads, and then it dies or goes on as ever."""
    work = advance.HANDLERS[Step.Agent.MONITOR]

    def take(taken: Step) -> None:
        reads(taken, readings)
        if dies:
            taken.attempts = Step.MAX_ATTEMPTS
            raise RuntimeError("no memory left")
        taken.finish(output={}, finished_at=timezone.now())
        tally.add(counts.turn(taken, "answered"))

    monkeypatch.setitem(advance.HANDLERS, Step.Agent.MONITOR, take)
    try:
        advance.advance(step.pk)
    except RuntimeError:
        assert dies
    finally:
        monkeypatch.setitem(advance.HANDLERS, Step.Agent.MONITOR, work)


def test_a_dead_step_that_lives_again_counts_each_reading_once(
    monitor: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns(monkeypatch, monitor, readings=3, dies=True)
    assert counted("response", "agent_runs") == {("agent_runs", "monitor", "template", "failed"): 1}
    monitor.refresh_from_db()
    assert queue.retry(monitor)
    turns(monkeypatch, monitor, readings=1, dies=False)
    assert counted("tool_calls") == {("tool_calls", "docker_logs", "ok"): 4}
    assert sum(n for (name, *_, part), n in counted("response").items() if part != "sum") == 1


def test_readings_of_an_attempt_that_failed_are_counted_with_the_next(
    monitor: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(step: Step) -> None:
        reads(step, 2)
        raise RuntimeError("no memory left")

    with monkeypatch.context() as patched:
        patched.setitem(advance.HANDLERS, Step.Agent.MONITOR, fails)
        with pytest.raises(RuntimeError):
            advance.advance(monitor.pk)
    Step.objects.update(due_at=timezone.now())
    turns(monkeypatch, monitor, readings=1, dies=False)
    assert counted("tool_calls") == {("tool_calls", "docker_logs", "ok"): 3}


def test_a_turn_lasts_from_its_own_claim(monitor: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was put off first, over a night."""
    Step.queue.claim(monitor.pk).postpone(seconds=0)
    Step.objects.update(started_at=F("started_at") - HOURS)
    turns(monkeypatch, monitor, readings=0, dies=False)
    took = counted("agent_duration")["agent_duration", "monitor", "template", "sum"]
    assert took < HOURS.total_seconds() * tally.MICRO / 2


def test_tools_that_a_model_makes_up_are_one_series(model: Any, step: Step) -> None:
    names = iter(f"made_up_{n}" for n in range(100))

    def script(request: dict[str, Any]) -> Any:
        if len(request["messages"]) > 2:
            return submit()
        return oai.call_tools(*(oai.tool_call(next(names), {}) for _ in range(3)))

    model(script)
    think(step)
    tally.add(counts.turn(step, "answered"))
    assert counted("tool_calls") == {("tool_calls", "(unknown)", "error"): 3}
    assert set(ToolCall.objects.values_list("tool", flat=True)) == {"made_up_0", "made_up_1", "made_up_2"}


def test_series_of_models_have_the_configured_name(step: Step) -> None:
    for n in range(5):
        row = ModelCall.objects.create(step=step, model=RUNG.model, endpoint="e", request={})
        response = {"model": f"local-{n}", "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
        _settle(row, Call(RUNG, {}, response, "", 1.0), step)
    names = {
        series[1] for series in counted("model_requests", "model_tokens", "model_cost", "model_unpriced")
    }
    assert names == {RUNG.model}
    assert ModelCall.objects.values("model").distinct().count() == 5, "the rows say who answered"


def test_a_secret_in_an_alerts_name_is_no_series(step: Step, settings: Any) -> None:
    settings.LLM_PRICES = {RUNG.model: (Decimal(1), Decimal(2), Decimal(0))}
    Incident.objects.update(alert_name="backup password=hunter2hunter2")
    step.run.incident.refresh_from_db()
    row = ModelCall.objects.create(step=step, model=RUNG.model, endpoint="e", request={})
    usage = {"prompt_tokens": 900_000, "completion_tokens": 1}
    _settle(row, Call(RUNG, {}, {"usage": usage}, "", 1.0), step)
    [series] = counted("incident_cost")
    assert series == ("incident_cost", "backup password=[redacted]")
