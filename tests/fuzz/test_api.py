"""Every operation of the OpenAPI schema, with values that fit it and values that do not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import got_request_exception, request_finished, request_started
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import strategies as st
from rest_framework.request import Request
from rest_framework.views import APIView
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from agents.models import Action, Autonomy, MaintenanceWindow, Pause
from homelab.wsgi import application
from incidents import memory
from incidents.models import Delivery, Episode, Incident, Problem, Target, Token
from tests.conftest import Api
from tests.fuzz import FULL
from tests.fuzz.tally import Tally, generated
from tests.homelab.household import a_household

REQUESTS = 6000 if FULL else 260
EACH = 4
CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]
# What the number in a path is the number of.
COLLECTIONS = {
    "actions": Action,
    "alerts": Episode,
    "autonomy": Autonomy,
    "deliveries": Delivery,
    "incidents": Incident,
    "maintenance-windows": MaintenanceWindow,
    "pauses": Pause,
    "problems": Problem,
    "targets": Target,
    "tokens": Token,
}


@pytest.fixture
def household(db: None) -> Iterator[None]:
    """A row of each kind, so that requests find what they are about."""
    a_household()
    yield
    memory.forget_index()


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    """A request to the WSGI application would end the connection, and with it the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tally]:
    """Counts who came through the door, and keeps the exception behind a 500."""
    tally = Tally()
    initial = APIView.initial

    def count(self: APIView, request: Request, *args: Any, **kwargs: Any) -> None:
        initial(self, request, *args, **kwargs)
        tally.handled += isinstance(request.auth, Token)

    def keep(**_: Any) -> None:
        tally.failures.append(repr(sys.exception()))

    monkeypatch.setattr(APIView, "initial", count)
    got_request_exception.connect(keep)
    yield tally
    got_request_exception.disconnect(keep)


def operations() -> list[Any]:
    schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(public=True))
    schema.app = application
    return [found.ok() for found in schema.get_all_operations()]


@st.composite
def requests_to(draw: st.DrawFn, operation: Any) -> Any:
    """One that fits the schema, or where that is possible, one that does not; mostly about a real row."""
    takes = operation.path_parameters or operation.query or operation.body
    mode = draw(st.sampled_from(GenerationMode)) if takes else GenerationMode.POSITIVE
    case = draw(operation.as_strategy(mode))
    for name, value in (case.path_parameters or {}).items():
        rows = COLLECTIONS.get(operation.path.split("/")[3])
        numbers = [str(pk) for pk in rows._base_manager.values_list("pk", flat=True)] if rows else []
        case.path_parameters[name] = draw(st.sampled_from([value, *numbers * 3]))
    return case


def run(requests: st.SearchStrategy[Any], count: int, tally: Tally, admin: Api) -> None:
    """Send that many; what goes wrong is in the tally."""

    @generated(count, requests)
    def send(case: Any) -> None:
        with transaction.atomic():
            with tally.timed(case.operation.label):
                response = case.call(headers=admin.headers)
            tally.answered(response.status_code, case.as_curl_command())
            if response.status_code < 300:
                tally.worked.add(case.operation.label)
            try:
                case.validate_response(response, checks=CHECKS)
            except FailureGroup as failures:
                tally.failures.extend(f"{case.as_curl_command()}: {each}" for each in failures.exceptions)
            transaction.set_rollback(True)  # each finds the same rows

    send()


@pytest.mark.usefixtures("household")
def test_every_operation(admin: Api, tally: Tally) -> None:
    found = operations()
    for operation in found:
        run(requests_to(operation), EACH, tally, admin)
    everywhere = st.sampled_from(found).flatmap(requests_to)
    run(everywhere, REQUESTS - tally.requests, tally, admin)
    print(f"\n{len(found)} operations, {len(tally.worked)} of them did what they are for: {tally}")
    assert tally.failures == []
    assert tally.requests >= REQUESTS
    assert tally.handled >= tally.requests / 2
    assert len(tally.worked) >= len(found) * (0.8 if FULL else 0.5)
