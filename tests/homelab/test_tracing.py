"""Tracing is off unless somebody says where to; then nothing of the SDK is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from homelab import doctor, tracing
from incidents.own_secrets import own_secrets
from incidents.wording import trace_link
from tests.e2e.otlp import Receiver
from tests.homelab.program import ROOT, environment
from tests.incidents.rows import an_incident

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED, LEFT_OUT = f"00-{TRACE}-00f067aa0ba902b7-01", f"00-{TRACE}-00f067aa0ba902b7-00"
TEMPLATE = "https://tempo.example.org/trace/{trace_id}?org=1"
LOADED = """
import sys, django
django.setup()
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
from homelab import celery, embedded, tracing
embedded.make_worker()
tracing.begin()
answer = Client().get("/health/live")
assert answer.status_code == 200, answer
tracing.end()
sdk = ("opentelemetry.sdk", "opentelemetry.exporter")
print(sorted(name for name in sys.modules if name.startswith(sdk)))
# Of production mode: redis-py loads the SDK's metrics where it is installed, and nothing else.
import homelab.prefork
print([name for name in sys.modules if name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp")])
"""


def test_off_nothing_of_the_sdk_is_loaded(tmp_path: Path) -> None:
    variables = environment(tmp_path, 0) | {"DJANGO_SETTINGS_MODULE": "homelab.settings"}
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["[]", "[]"], done.stderr


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("traceparent", "template", "link"),
    [
        (SAMPLED, TEMPLATE, f"https://tempo.example.org/trace/{TRACE}?org=1"),
        (SAMPLED, None, None),
        (LEFT_OUT, TEMPLATE, None),
        (None, TEMPLATE, None),
    ],
)
def test_an_incident_links_to_its_trace(
    settings: Any, person: Any, traceparent: str | None, template: str | None, link: str | None
) -> None:
    settings.TRACE_URL_TEMPLATE = template
    incident = an_incident(traceparent=traceparent)
    assert trace_link(incident) == link
    assert incident.trace_id == (TRACE if traceparent == SAMPLED else None)
    browser: Client = person(superuser=True)
    for path in (f"/incidents/{incident.pk}", f"/admin/incidents/incident/{incident.pk}/change/"):
        page = browser.get(path).content.decode()
        assert (f'href="{link}"' in page) == (link is not None)
    shown = browser.get(f"/api/v1/incidents/{incident.pk}").json()
    assert shown["trace_id"] == incident.trace_id


@pytest.mark.django_db
def test_the_doctor_asks_the_collector(settings: Any) -> None:
    assert doctor.check_traces().ok is None
    with Receiver() as receiver:
        settings.OTEL_EXPORTER_OTLP_ENDPOINT = receiver.url
        settings.OTEL_EXPORTER_OTLP_HEADERS = "Authorization=Bearer%20hunter2hunter2,X-Scope=home"
        assert doctor.check_traces().ok
        assert receiver.paths == ["/v1/traces"]
        assert tracing.headers() == {"authorization": "Bearer hunter2hunter2", "x-scope": "home"}
    away = doctor.check_traces()
    assert (away.ok, away.detail.partition(":")[0]) == (False, "OTEL_EXPORTER_OTLP_ENDPOINT")
    assert "hunter2" not in away.detail


def test_the_collectors_key_is_one_of_our_secrets() -> None:
    told = SimpleNamespace(OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20hunter2hunter2,X-Scope=home")
    assert own_secrets(told) == {"hunter2hunter2"}


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/q/eyJhIjo3fQ.1vM-x", "/q/<token>"),
        ("/api/v1/incidents/5", "/api/v1/incidents/<pk>"),
        ("/", "/"),
        ("/nothing", None),
    ],
)
@pytest.mark.django_db
def test_a_request_is_named_by_its_route(client: Client, path: str, route: str | None) -> None:
    request = client.get(path).wsgi_request
    assert tracing.route(request) == route
