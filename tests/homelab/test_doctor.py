"""`manage.py doctor`: what is reachable, what is missing, and never a secret."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from incidents.models import Episode
from tests.e2e import openai_server as oai

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9")  # where nothing listens


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


def test_the_model_is_asked_for_its_list(settings: Settings) -> None:
    with oai.OpenAIServer(lambda _: oai.say("unused"), api_key="sk-right", models=("small",)) as server:
        settings.OPENAI_BASE_URL, settings.OPENAI_MODEL = server.base_url, "small"
        settings.OPENAI_API_KEY = "sk-right"
        assert doctor()[0]["model"].startswith("ok Reasoning: model small at")
        settings.OPENAI_MODEL = "large"
        assert "large is not offered" in doctor()[0]["model"]
        settings.OPENAI_API_KEY = "sk-wrong"
        lines, failure = doctor()
    assert "refuses the key (401)" in lines["model"]
    assert failure == "configured, but failing: model"


def test_what_cannot_be_reached_fails_without_its_password(settings: Settings) -> None:
    settings.OPENAI_BASE_URL = "http://me:hunter2@127.0.0.1:9/v1"
    settings.QDRANT_URL, settings.QDRANT_API_KEY = "http://127.0.0.1:9", "hunter2"
    settings.PROMETHEUS_URL = settings.ALERTMANAGER_URL = "http://me:hunter2@127.0.0.1:9"
    lines, failure = doctor()
    assert failure == "configured, but failing: memory, model, alertmanager, prometheus"
    assert "hunter2" not in str(lines)


def test_channels_are_read_and_not_printed(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    settings.NOTIFY_URLS = ["json://me:hunter2@127.0.0.1:9/", "nonsense://hunter2"]
    lines, failure = doctor()
    assert lines["notifications"] == "FAILS NOTIFY_URLS: Apprise cannot read nonsense-2"
    assert failure == "configured, but failing: notifications"
    assert "hunter2" not in str(lines) + "".join(capfd.readouterr())
