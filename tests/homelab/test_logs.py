"""Log lines: what each says beside its words, where they go, and what cannot be smuggled into them."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import Client

from homelab import logs
from incidents import events
from incidents.context import about
from incidents.models import Event
from tests.incidents.rows import an_incident


def line(style: str, message: str, *values: object, exc_info: bool = False, **extra: object) -> str:
    """A message as it is written."""
    config = logs.config(level="INFO", style=style)
    formatter: Any = logging.config.DictConfigurator(config).configure_formatter(config["formatters"][style])
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(formatter)
    handler.addFilter(logs.ContextFilter())
    logger = logging.Logger("agents.crew")
    logger.addHandler(handler)
    logger.info(message, *values, exc_info=exc_info, extra=extra)
    written: str = handler.stream.getvalue()
    return written


def test_a_line_says_what_it_is_about() -> None:
    with about(request_id="r-1"), about(incident_id=5, agent="analyst", step=9):
        said = json.loads(line("json", "read %d rows", 3, tool="docker_logs"))
    assert said | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "logger": "agents.crew",
        "message": "read 3 rows",
        "request_id": "r-1",
        "incident_id": 5,
        "agent": "analyst",
        "step": 9,
        "trace_id": None,
        "span_id": None,
        "tool": "docker_logs",
    }
    assert said["time"].endswith("+00:00")


def test_people_read_it_before_the_words() -> None:
    with about(request_id="r-1", incident_id=5, agent="analyst"):
        assert "agents.crew [#5 analyst request r-1] read 3 rows\n" in line("text", "read 3 rows")
    assert "agents.crew read 3 rows\n" in line("text", "read 3 rows")


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_message_is_one_line_whatever_is_in_it(style: str) -> None:
    written = line(style, "%s", "down\n2026-11-23 00:00:00,000 INFO    faked\r\x1b[2J\x9b0m")
    assert written.count("\n") == 1
    assert not {"\r", "\x1b"} & set(written)
    assert style == "json" or "\x9b" not in written


def test_an_exceptions_words_are_no_line_of_their_own() -> None:
    try:
        raise ValueError("no such label\n2026-11-23 00:00:00,000 INFO    faked\n\nand more")
    except ValueError:
        written = line("text", "failed", exc_info=True)
    first, *rest = written.removesuffix("\n").split("\n")
    assert first.endswith("agents.crew failed")
    assert "  2026-11-23 00:00:00,000 INFO    faked" in rest
    assert all(each.startswith("  ") for each in rest)


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_link_that_approves_is_not_written(style: str) -> None:
    written = line(style, "Gone: %s", "/q/eyJhIjo3fQ.1vM-x_9/")
    assert "Gone: /q/[redacted]/" in written


def test_broken_utf8_and_objects_can_be_written() -> None:
    said = json.loads(line("json", "%s", "\udcff", thing={"a": object}).encode())
    assert said["message"] == "?"


@pytest.mark.parametrize(
    ("program", "stream"),
    [
        ("/usr/bin/gunicorn", "stdout"),
        ("/lib/gunicorn/__main__.py", "stdout"),
        ("/usr/bin/celery", "stdout"),
        ("/lib/celery/__main__.py", "stdout"),
        ("manage.py", "stderr"),
        ("-c", "stderr"),
    ],
)
def test_a_server_writes_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, program: str, stream: str
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    assert logs.stream() is getattr(sys, stream)


@pytest.mark.django_db(transaction=True)
def test_what_is_on_the_timeline_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    incident = an_incident(request_id="r-9")
    with caplog.at_level(logging.INFO, "incidents.events"):
        events.record(incident, Event.Kind.AGENT, "analyst", "LIKELY: password=hunter2hunter2")
    [record] = caplog.records
    assert record.getMessage() == "agent by analyst: LIKELY: password=[redacted]"
    assert (vars(record)["incident_id"], vars(record)["request_id"]) == (incident.pk, "r-9")


@pytest.mark.django_db
@pytest.mark.parametrize(("peer", "told"), [("10.0.0.5", "10.0.0.5"), ("172.18.0.2", "203.0.113.7")])
def test_a_refused_request_says_who_sent_it(
    client: Client, caplog: pytest.LogCaptureFixture, settings: Any, peer: str, told: str
) -> None:
    """What it says of itself counts only behind a trusted proxy."""
    settings.TRUSTED_PROXIES = [ip_network("172.18.0.2")]
    client.post("/alert", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR="203.0.113.7")
    [record] = [each for each in caplog.records if each.getMessage() == "Unauthorized: /alert"]
    assert logs.ContextFilter().filter(record)
    assert vars(record)["client"] == told
    assert f"from {told}] Unauthorized: /alert" in logs.RedactedText("%(about)s%(message)s").format(record)


def test_a_broker_within_the_process_is_not_announced() -> None:
    name = "celery.worker.consumer.connection"
    level = {
        embedded: logs.config(level="INFO", style="json", embedded=embedded)["loggers"][name]["level"]
        for embedded in (True, False)
    }
    assert level == {True: "WARNING", False: "INFO"}
