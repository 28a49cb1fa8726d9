"""Every way down the ladder and up again, on real HTTP: which rung works a step, and what the step says."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from agents import cases, reasoners
from agents.answers import Diagnosis, Triage
from agents.loop import Brief
from agents.models import Breaker, ModelCall, Step
from agents.reasoners import breaker, rungs, storm
from agents.reasoners.playbook import PlaybookReasoner
from agents.tools import available
from incidents.models import Incident
from tests.agents.conftest import a_step, next_step
from tests.e2e import openai_server as oai

pytestmark = pytest.mark.django_db
TRIAGE = {"state": "unknown", "affected": [], "summary": "nobody can say"}
Json = dict[str, Any]


def good(request: Json) -> Any:
    return oai.call_tools(oai.tool_call("submit_triage", TRIAGE))


def reads_first(request: Json) -> Any:
    """One reading, then the answer."""
    if request["messages"][-1]["role"] == "tool":
        return good(request)
    return oai.call_tools(oai.tool_call("recall_incidents", {"query": "disk"}))


def bad(request: Json) -> Any:
    return oai.error(500, "The server had an error")


def think(step: Step) -> Triage:
    brief = Brief("monitor", cases.build(step.run.incident), Triage, tuple(available()), {"reading": None})
    return reasoners.think(step, brief)


def again(step: Step) -> Step:
    """The next agent's step of the same run, thought."""
    later = next_step(step.run)
    think(later)
    return later


def the_pause_is_over() -> None:
    Breaker.objects.update(open_until=timezone.now() - timedelta(seconds=1))


# --- down ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (bad, "answered 500"),
        (lambda request: oai.Response(hang=True), "timed out after 1 s"),
        (lambda request: oai.Response(message=oai.say("x"), cut=True), "the connection to the"),
        (lambda request: oai.Response(message=good(request), drip=0.05), "timed out"),
        (lambda request: oai.malformed(), "not JSON"),
        (lambda request: oai.error(429, "You exceeded your current quota", code="insufficient_quota"), "429"),
        (lambda request: oai.error(402, "Insufficient Balance"), "402"),
        (lambda request: oai.rate_limited(300), "429"),
        (lambda request: oai.say("All is well."), "submit tool"),
        (lambda request: oai.call_tools(oai.tool_call("nonsense", {})), "no tool 'nonsense'"),
    ],
    ids=["500", "stall", "cut", "drip", "half", "no quota", "no money", "429", "prose", "wrong calls"],
)
def test_the_fallback_takes_over_and_the_step_says_why(
    model, fallback, step: Step, settings, script, why: str
) -> None:
    model(script)
    settings.OPENAI_TIMEOUT_SECONDS = 1
    small = fallback(good)
    assert think(step).summary == "nobody can say"
    assert step.rung == "fallback"
    assert step.rung_reason.startswith("model: ")
    assert why in step.rung_reason
    assert len(small.chats) == 1
    assert small.chats[0]["model"] == "small"


def test_below_the_fallback_are_the_playbooks_and_both_reasons_are_kept(model, fallback, step: Step) -> None:
    model(bad)
    fallback(lambda request: oai.say("All is well."))
    assert "could not be read" in think(step).summary
    assert step.rung == "playbooks"
    assert "model: the model's server answered 500" in step.rung_reason
    assert "fallback: monitor: " in step.rung_reason


def test_what_the_model_read_is_where_the_fallback_begins(model, fallback, step: Step) -> None:
    answers = iter([reads_first])  # and breaks then, however it is asked
    model(lambda request: next(answers, bad)(request))  # noqa: PLW0108 another one each time
    small = fallback(reads_first)
    think(step)
    assert step.rung == "fallback"
    assert len(small.chats) == 1  # it need not read what was read
    told = [message for message in small.chats[0]["messages"] if message["role"] == "tool"]
    assert [message["tool_call_id"] for message in told] == ["monitor-1"]
    assert step.tool_calls.count() == 1


def test_what_the_model_read_is_where_the_playbooks_begin(model, step: Step, monkeypatch) -> None:
    begun_with: list[Any] = []
    real = PlaybookReasoner.next_turn

    def watched(self: Any, brief: Any, transcript: Any, *, final: bool) -> Any:
        begun_with.append([entry.request.tool for entry in transcript])
        return real(self, brief, transcript, final=final)

    monkeypatch.setattr(PlaybookReasoner, "next_turn", watched)
    model(lambda request: bad(request) if len(request["messages"]) > 2 else reads_first(request))
    reasoners.think(step, Brief("analyst", cases.build(step.run.incident), Diagnosis, tuple(available())))
    assert step.rung == "playbooks"
    assert begun_with[0] == ["recall_incidents"]


# --- money ---------------------------------------------------------------------------------------


def spend(step: Step, dollars: str) -> None:
    ModelCall.objects.create(step=step, model="m", endpoint="e", request={}, cost_usd=dollars)


def test_a_spent_budget_leaves_a_local_fallback(model, fallback, step: Step, settings) -> None:
    big, _ = model(good), fallback(good)
    settings.LLM_BUDGET_DAILY_USD, settings.AGENT_USD = 0.5, 2.0
    spend(step, "0.50")
    think(step)
    assert (step.rung, big.chats) == ("fallback", [])
    assert step.rung_reason == "model: the daily budget is spent: $0.50 of $0.50"
    settings.LLM_BUDGET_DAILY_USD = 1.0
    assert again(step).rung == "model"


def test_a_fallback_that_costs_is_kept_from_work_by_the_budget(model, step: Step, settings) -> None:
    big = model(good)
    settings.OPENAI_FALLBACK_MODEL = "cheaper"  # at the same server
    settings.LLM_BUDGET_DAILY_USD = 0.5
    spend(step, "0.50")
    think(step)
    assert (step.rung, big.chats) == ("playbooks", [])


def test_the_budget_is_asked_before_each_call(model, fallback, step: Step, settings, monkeypatch) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.5
    big, small = model(reads_first), fallback(reads_first)
    monkeypatch.setattr("agents.reasoners.calls.price_usd", lambda **_: Decimal("0.50"))
    settings.AGENT_USD = 10.0
    think(step)
    assert (len(big.chats), step.rung) == (1, "fallback")
    assert len(small.chats) == 1
    assert "budget" in step.rung_reason


# --- rate limits ---------------------------------------------------------------------------------


def test_a_short_retry_after_is_waited_for(model, step: Step) -> None:
    answers = [oai.rate_limited(0.3), good({})]
    server = model(lambda request: answers.pop(0))
    think(step)
    assert step.rung == "model"
    first, second = (request.at for request in server.requests)
    assert second - first >= 0.3
    assert not Breaker.objects.exists()


def test_a_server_that_stays_busy_is_asked_once_more_and_then_left_alone(model, step: Step) -> None:
    server = model(lambda request: oai.rate_limited(0.2))
    think(step)
    assert (step.rung, len(server.chats)) == ("playbooks", 2)
    assert Breaker.objects.get().open_until is not None


def test_a_long_retry_after_is_honoured_by_the_breaker(model, step: Step) -> None:
    server = model(lambda request: oai.rate_limited(300))
    before = timezone.now()
    think(step)
    until = Breaker.objects.get().open_until - before
    assert timedelta(seconds=299) < until < timedelta(seconds=330)
    later = again(step)
    assert len(server.chats) == 1
    assert "left alone until" in later.rung_reason


@pytest.mark.parametrize("value", ["Mon, 01 Jan 2001 00:00:00 GMT", "0"])
def test_a_retry_after_in_the_past_means_now(model, step: Step, value: str) -> None:
    answers = [oai.error(503, "overloaded", headers={"Retry-After": value}), good({})]
    model(lambda request: answers.pop(0))
    think(step)
    assert step.rung == "model"


def test_a_retry_after_that_nobody_can_read_is_none(model, step: Step) -> None:
    server = model(lambda request: oai.error(429, "slow down", headers={"Retry-After": "soon"}))
    think(step)
    assert (step.rung, len(server.chats)) == ("playbooks", 1)


def test_a_cut_connection_is_tried_once_more(model, step: Step) -> None:
    answers = [oai.Response(message=good({}), cut=True), oai.Response(message=good({}))]
    model(lambda request: answers.pop(0))
    think(step)
    assert step.rung == "model"
    assert ModelCall.objects.exclude(error="").count() == 1


# --- the breaker ---------------------------------------------------------------------------------


def test_the_third_failure_in_a_row_spares_the_next_steps_and_one_success_heals(model, step: Step) -> None:
    script = [good]
    server = model(lambda request: script[0](request))  # noqa: PLW0108 it changes
    think(step)  # so that a 500 is an outage, and not a refusal of tools
    script[0] = bad
    for _ in range(3):
        later = again(step)
    assert "answered 500" in later.rung_reason
    asked = len(server.chats)
    later = again(step)
    assert later.rung == "playbooks"
    assert later.rung_reason.startswith("model: left alone until ")
    assert len(server.chats) == asked
    the_pause_is_over()
    script[0] = good
    assert again(step).rung == "model"
    assert not Breaker.objects.exists()


def test_failures_between_successes_are_not_in_a_row(model, step: Step) -> None:
    answers = [good, bad, bad, good, bad, bad, good]
    model(lambda request: answers.pop(0)(request))  # noqa: PLW0108 another each time
    think(step)
    worked = [again(step).rung for _ in range(6)]
    assert worked == ["playbooks", "playbooks", "model", "playbooks", "playbooks", "model"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_opens_at_once_and_another_key_is_tried_at_once(
    model, step: Step, settings, status: int
) -> None:
    settings.OPENAI_API_KEY = "wrong"
    server = model(good, api_key="right") if status == 401 else model(lambda r: oai.error(403, "no"))
    think(step)
    assert str(status) in step.rung_reason
    again(step)
    assert len(server.requests) == 1
    settings.OPENAI_API_KEY = "right"
    again(step)
    assert len(server.requests) == 2


def a_rung(name: str = "m") -> rungs.Rung:
    return rungs.Rung("model", name, "http://127.0.0.1:1/v1", None, "OPENAI_API_KEY")


def test_when_the_pause_is_over_one_is_let_in_to_try() -> None:
    breaker.failed(a_rung(), "no money", pause=60)
    the_pause_is_over()
    first, second = breaker.trouble(a_rung()), breaker.trouble(a_rung())
    assert breaker.is_open(first) is None
    assert breaker.admit(first) is None
    assert "another worker is trying it" in breaker.admit(second)
    assert "left alone until" in breaker.admit(breaker.trouble(a_rung()))


def test_a_failed_trial_doubles_the_pause_up_to_a_quarter_of_an_hour() -> None:
    pauses = []
    for _ in range(9):
        before = timezone.now()
        until = breaker.failed(a_rung(), "down", pause=None)
        pauses.append(round((until - before).total_seconds()) if until else None)
    assert pauses == [None, None, 60, 120, 240, 480, 900, 900, 900]


def test_a_short_wish_does_not_end_a_long_pause() -> None:
    long = breaker.failed(a_rung(), "a wrong key", pause=900)
    breaker.failed(a_rung(), "busy", pause=2)
    assert Breaker.objects.get().open_until == long


def test_an_absurd_wish_is_cut_and_models_are_apart() -> None:
    until = breaker.failed(a_rung(), "busy", pause=1e9)
    assert until is not None
    assert until < timezone.now() + timedelta(hours=2)
    assert breaker.trouble(a_rung("other")) is None


def test_the_row_tells_neither_key_nor_password() -> None:
    rung = rungs.Rung("model", "m", "http://me:hunter2@127.0.0.1:1/v1", "sk-secret", "OPENAI_API_KEY")
    breaker.failed(rung, "down", pause=60)
    assert Breaker.objects.get().rung == "m at http://127.0.0.1:1/v1"
    assert not {"hunter2", "sk-secret"} & set(str(Breaker.objects.values().get()))


# --- storms --------------------------------------------------------------------------------------


def test_in_a_storm_the_model_is_for_critical_incidents(model, fallback, step: Step, settings) -> None:
    settings.STORM_INCIDENTS = 3
    big, _ = model(good), fallback(good)
    others = [a_step(name, "warning") for name in "abc"]
    assert storm.raging()
    think(others[0])
    assert (others[0].rung, big.chats) == ("fallback", [])
    assert others[0].rung_reason.startswith("model: storm: more than 3 incidents in 10 minutes")
    think(step)
    assert (step.rung, step.rung_reason) == ("model", "")
    Incident.objects.update(opened_at=timezone.now() - timedelta(hours=1))
    think(others[1])
    assert others[1].rung == "model"  # the storm is over


def test_three_incidents_are_no_storm_of_more_than_three(step: Step, settings) -> None:
    settings.STORM_INCIDENTS = 3
    a_step("a", "warning")
    a_step("b", "warning")
    assert not storm.raging()


# --- limits --------------------------------------------------------------------------------------


def greedy(request: Json) -> Any:
    """Reads as long as it is let."""
    names = [tool["function"]["name"] for tool in request["tools"]]
    if names == ["submit_triage"]:
        return good(request)
    return oai.call_tools(oai.tool_call("recall_incidents", {"query": f"q{len(request['messages'])}"}))


def test_tokens_end_an_agent_with_a_last_call_without_tools(model, step: Step, settings) -> None:
    usage = {"prompt_tokens": 900, "completion_tokens": 100}
    server = model(lambda request: oai.Response(message=greedy(request), usage=usage))
    settings.AGENT_STEPS, settings.AGENT_TOKENS = 8, 4000
    assert think(step).summary == "nobody can say"
    assert step.rung == "model"
    assert len(server.chats) == 4  # a fifth would have been over
    assert len(server.chats[-1]["tools"]) == 1


def test_dollars_end_an_agent_with_a_last_call_without_tools(
    model, step: Step, settings, monkeypatch
) -> None:
    server = model(greedy)
    monkeypatch.setattr("agents.reasoners.calls.price_usd", lambda **_: Decimal("0.1"))
    settings.AGENT_STEPS, settings.AGENT_USD = 8, 0.35
    assert think(step).summary == "nobody can say"
    assert (step.rung, len(server.chats)) == ("model", 3)


def test_a_silent_model_cannot_take_more_than_the_agents_time(model, fallback, step: Step, settings) -> None:
    model(lambda request: oai.Response(hang=True))
    fallback(lambda request: oai.Response(hang=True))
    settings.AGENT_SECONDS, settings.OPENAI_TIMEOUT_SECONDS = 2, 60
    think(step)
    assert step.rung == "playbooks"
    assert step.rung_reason.startswith("model: the model's server timed out after 2 s; fallback: ")
    assert not Breaker.objects.exists()  # our own deadline says nothing about the server


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [("INCIDENT_STEPS", 2, "steps"), ("INCIDENT_TOKENS", 100, "tokens"), ("INCIDENT_SECONDS", 3, "seconds")],
)
def test_what_an_incident_may_take_is_a_limit_of_all_its_agents(
    model, step: Step, settings, setting: str, value: int, name: str
) -> None:
    server = model(good)
    for _ in range(2):
        ModelCall.objects.create(
            step=step, model="m", endpoint="e", request={}, input_tokens=40, output_tokens=10, seconds=1.5
        )
    setattr(settings, setting, value)
    later = again(step)
    assert (later.rung, server.chats) == ("playbooks", [])
    assert later.rung_reason == f"model: the limit of {name} of the agent or of its incident is reached"


def test_a_lease_is_renewed_before_each_call(model, step: Step, monkeypatch) -> None:
    renewed: list[float] = []
    monkeypatch.setattr(Step, "renew", lambda self: renewed.append(time.monotonic()))
    answers = [oai.rate_limited(0.2), reads_first({"messages": [{"role": "user"}]}), good({})]
    model(lambda request: answers.pop(0))
    think(step)
    assert len(renewed) == 3


# --- which rungs there are -----------------------------------------------------------------------


def test_a_fallback_at_the_same_server_uses_its_key(settings) -> None:
    settings.OPENAI_API_KEY, settings.OPENAI_FALLBACK_MODEL = "sk-main", "gpt-small"
    _, small = rungs.configured()
    assert (small.base_url, small.api_key, small.free) == (rungs.OPENAI, "sk-main", False)


def test_a_fallback_at_the_same_server_may_have_a_key_of_its_own(settings) -> None:
    settings.OPENAI_API_KEY, settings.OPENAI_FALLBACK_MODEL = "sk-main", "gpt-small"
    settings.OPENAI_FALLBACK_API_KEY = "sk-other"
    small = rungs.configured()[1]
    assert (small.api_key, small.key_name) == ("sk-other", "OPENAI_FALLBACK_API_KEY")


def test_a_fallback_at_its_own_server_never_gets_the_main_key(settings) -> None:
    settings.OPENAI_API_KEY, settings.OPENAI_FALLBACK_MODEL = "sk-main", "llama"
    settings.OPENAI_FALLBACK_BASE_URL = "http://nas:11434/v1"
    assert rungs.configured()[1].api_key is None


@pytest.mark.parametrize(
    ("host", "free"),
    [
        ("127.0.0.1", True),
        ("192.168.1.5", True),
        ("100.100.1.1", True),  # a tailnet
        ("[fd00::1]", True),
        ("ollama", True),
        ("gpu.lan", True),
        ("openrouter.ai", False),
        ("8.8.8.8", False),
    ],
)
def test_a_fallback_in_the_own_network_is_free(settings, host: str, free: bool) -> None:
    settings.OPENAI_FALLBACK_MODEL, settings.OPENAI_FALLBACK_BASE_URL = "m", f"http://{host}:8000/v1"
    [rung] = rungs.configured()
    assert (rung.name, rung.free) == ("fallback", free)


def test_the_main_model_is_never_taken_for_free(settings) -> None:
    """It may be a proxy to one that costs."""
    settings.OPENAI_BASE_URL = "http://127.0.0.1:4000/v1"
    assert not rungs.configured()[0].free
