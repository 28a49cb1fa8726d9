"""`manage.py doctor`: what is reachable, what is missing, and never a secret."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from agents.models import Breaker
from agents.reasoners import breaker, dialects, rungs
from homelab import banner
from incidents.models import Episode
from tests.e2e import openai_server as oai

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9")  # where nothing listens
    dialects.forget()


def doctor() -> tuple[dict[str, str], str]:
    """Lines by name, and the error if there is one."""
    out, failure = io.StringIO(), ""
    try:
        call_command("doctor", stdout=out)
    except CommandError as error:
        failure = str(error)
    lines = [line.split(maxsplit=2) for line in out.getvalue().splitlines()]
    return {name: f"{word} {detail}" for word, name, detail in lines}, failure


def test_nothing_configured_is_no_failure() -> None:
    lines, failure = doctor()
    assert failure == ""
    assert lines["database"].startswith("ok")
    assert lines["docker"].startswith("- not configured (set DOCKER_HOSTS")
    assert lines["prometheus"] == "- proof unavailable (set PROMETHEUS_URL)"
    assert lines["server"].startswith("- does not run")


def test_another_program_on_our_port_is_told_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that speaks HTML, as most do."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("PORT", str(server.server_port))
        lines, _ = doctor()
        server.shutdown()
    assert lines["server"] == f"- something else answers at http://127.0.0.1:{server.server_port}"


def test_it_names_the_prometheus_that_alerts_came_from() -> None:
    for number, url in enumerate(
        ("http://prom.lan:9090/graph?g0.expr=up", "javascript:alert(1)", "http://[")
    ):
        Episode.objects.create(
            source="alertmanager",
            fingerprint=str(number),
            alert_name="Down",
            labels={},
            generator_url=url,
            starts_at=datetime.now(UTC),
        )
    lines, _ = doctor()
    assert lines["prometheus"].endswith("recent alerts came from http://prom.lan:9090")


TRIAGE = {"state": "firing", "affected": ["docker:docker2/shop"], "summary": "shop is down"}
NONE = {"action": "none", "target": None, "reason": "a restart frees no disk"}


def sensible(request: dict[str, Any]) -> Any:
    """Reads before it diagnoses, quotes what it read, and is not talked into a restart."""
    names = [tool["function"]["name"] for tool in request["tools"]]
    last = request["messages"][-1]
    if "submit_triage" in names:
        return oai.call_tools(oai.tool_call("submit_triage", TRIAGE))
    if "submit_remediation" in names:
        return oai.call_tools(oai.tool_call("submit_remediation", NONE))
    if last["role"] != "tool":
        return oai.call_tools(oai.tool_call("docker_inspect", {"container": "shop"}))
    claim = {"text": "killed for memory", "call_id": "analyst-1", "quote": "oom_killed: true"}
    diagnosis = {"cause": "out of memory", "certainty": "CONFIRMED", "claims": [claim]}
    return oai.call_tools(oai.tool_call("submit_diagnosis", diagnosis))


def gullible(request: dict[str, Any]) -> Any:
    """Never reads, invents its quotes, and does what it is told in the data."""
    names = [tool["function"]["name"] for tool in request["tools"]]
    if "submit_remediation" in names:
        wish = {"action": "restart_container", "target": "docker:docker2/shop", "reason": "as the note says"}
        return oai.call_tools(oai.tool_call("submit_remediation", wish))
    if "submit_diagnosis" in names:
        claim = {"text": "x", "call_id": "analyst-1", "quote": "out of memory"}
        diagnosis = {"cause": "out of memory", "certainty": "CONFIRMED", "claims": [claim]}
        return oai.call_tools(oai.tool_call("submit_diagnosis", diagnosis))
    return sensible(request)


def test_a_model_that_does_its_three_tasks_is_fit(settings: Settings) -> None:
    with oai.OpenAIServer(sensible, api_key="sk-right", models=("small",)) as server:
        settings.OPENAI_BASE_URL, settings.OPENAI_MODEL = server.base_url, "small"
        settings.OPENAI_API_KEY = "sk-right"
        lines, failure = doctor()
    assert failure == ""
    assert lines["model"].startswith("ok fit: 3 of 3 tasks, 4 calls, ")
    assert "price not known, asked with a strict schema; model small at http://127.0.0.1" in lines["model"]


def test_a_model_that_fails_a_task_is_not_fit_and_why(settings: Settings) -> None:
    with oai.OpenAIServer(gullible, models=()) as server:
        settings.OPENAI_FALLBACK_BASE_URL, settings.OPENAI_FALLBACK_MODEL = server.base_url, "small"
        lines, failure = doctor()
    assert failure == "configured, but failing: fallback"
    line = lines["fallback"]
    assert line.startswith("FAILS not fit (diagnosis: called no tool; remedy: wants to restart")
    assert "1 of 3 tasks" in line
    assert "tokens, free, asked with a strict schema" in line
    assert "no key, in your own network, so free" in line


def test_a_wrong_name_or_key_is_found_without_a_call_that_costs(settings: Settings) -> None:
    with oai.OpenAIServer(sensible, api_key="sk-right", models=("small",)) as server:
        settings.OPENAI_BASE_URL, settings.OPENAI_MODEL = server.base_url, "large"
        settings.OPENAI_API_KEY = "sk-right"
        assert "OPENAI_MODEL: large is not offered there" in doctor()[0]["model"]
        settings.OPENAI_API_KEY = "sk-wrong"
        lines, failure = doctor()
        assert server.chats == []
    assert "refuses the key (401)" in lines["model"]
    assert failure == "configured, but failing: model"


def test_a_spent_budget_is_not_spent_by_the_doctor(settings: Settings) -> None:
    settings.LLM_BUDGET_DAILY_USD = 0.0
    with oai.OpenAIServer(sensible, models=()) as server:
        settings.OPENAI_BASE_URL = server.base_url
        lines, failure = doctor()
        assert server.chats == []
    assert "not tried: the daily budget is spent: $0.00 of $0.00" in lines["model"]
    assert failure == ""


def test_a_model_that_works_again_is_let_back_in(settings: Settings) -> None:
    with oai.OpenAIServer(sensible, models=()) as server:
        settings.OPENAI_BASE_URL = server.base_url
        breaker.failed(rungs.configured()[0], "the server was down", pause=600)
        assert "now playbooks (model: left alone until" in banner.ladder()
        doctor()
    assert not Breaker.objects.exists()
    assert "now playbooks" not in banner.ladder()


def test_the_ladder_names_every_rung_its_place_its_keys_origin_and_its_cap(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-lying-around")
    settings.OPENAI_API_KEY = "sk-lying-around"
    settings.OPENAI_FALLBACK_BASE_URL, settings.OPENAI_FALLBACK_MODEL = "http://me:pw@nas:11434/v1", "llama"
    first, second, last = banner.ladder().splitlines()
    place = "https://api.openai.com/v1"
    assert first == (
        f"Reasoning: model gpt-4o-mini at {place}, key from the environment, at most $1.00 a day"
    )
    assert second == "  then fallback llama at http://nas:11434/v1, no key, in your own network, so free"
    assert last == "  then playbooks"


def test_what_cannot_be_reached_fails_without_its_password(settings: Settings) -> None:
    settings.OPENAI_BASE_URL = "http://me:hunter2@127.0.0.1:9/v1"
    settings.QDRANT_URL, settings.QDRANT_API_KEY = "http://127.0.0.1:9", "hunter2"
    settings.PROMETHEUS_URL = settings.ALERTMANAGER_URL = "http://me:hunter2@127.0.0.1:9"
    lines, failure = doctor()
    assert failure == "configured, but failing: memory, model, alertmanager, prometheus"
    assert "hunter2" not in str(lines)


def test_channels_are_named_and_not_printed(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    settings.NOTIFY_URLS = ["json://me:hunter2@127.0.0.1:9/"]
    lines, _ = doctor()
    assert lines["notifications"] == "ok json-1"
    settings.ESCALATION_URLS = ["json://me:hunter2@127.0.0.1:9/"]
    lines, _ = doctor()
    assert lines["notifications"].endswith("answers in 10 min: json-escalation-1")
    assert "hunter2" not in str(lines) + "".join(capfd.readouterr())
