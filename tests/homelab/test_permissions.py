"""Who may do what under `/api/v1`, as one table: every endpoint, every method, every kind of caller."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve

from incidents import memory
from tests.conftest import Api
from tests.homelab.household import a_household

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Of nobody, ingest, viewer, operator and admin: who gets in.
VIEWERS, OPERATORS, ADMINS = "nnyyy", "nnnyy", "nnnny"
PLACES = {"nobody": 0, "ingest": 1, "viewer": 2, "operator": 3, "admin": 4}
CALLERS = (*PLACES, "person: viewer", "person: operator", "person: admin")


@dataclass(frozen=True)
class Line:
    """Who gets in, with what body, and what is answered then. `opened`: HOMELAB_OPEN_READ lets all in."""

    who: str
    status: int = 200
    body: Any = None
    opened: bool = False


def read(who: str = VIEWERS, *, opened: bool = True) -> Line:
    return Line(who, opened=opened)


def write(status: int = 200, body: Any = None, who: str = OPERATORS) -> Line:
    return Line(who, status, body)


TABLE: dict[str, Line] = {
    "GET incidents": read(),
    "GET incidents/{incident}": read(),
    "POST incidents/{incident}/annotate": write(body={"note": "the cat"}),
    "POST incidents/{incident}/acknowledge": write(),
    "POST incidents/{incident}/take-over": write(),
    "POST incidents/{incident}/give-back": write(),
    "POST incidents/{incident}/resolve": write(body={"note": "the cat"}),
    "POST incidents/{incident}/escalate": write(body={"why": "too hot"}),
    "POST incidents/{incident}/rate": write(body={"rating": "right"}),
    "POST incidents/{incident}/notes": write(201, {"text": "I look"}),
    "POST incidents/{ended}/investigate-again": write(202),
    "GET incidents/{incident}/postmortem": read(opened=False),  # its timeline names who did what
    "POST incidents/{incident}/postmortem": write(202),
    "GET incidents/{incident}/runs": read(),
    "GET incidents/{incident}/cost": read(),
    "GET alerts": read(),
    "GET alerts/{alert}": read(),
    "GET actions": read(),
    "GET actions/{action}": read(),
    "POST actions/{action}/approve": write(),
    "POST actions/{action}/reject": write(body={"reason": "a backup runs"}),
    "POST actions/{action}/ask-again": write(409),  # it is still asked
    "GET autonomy": read(),
    "GET autonomy/{pair}": read(),
    "POST autonomy/{pair}/raise": write(),
    "POST autonomy/{pair}/lower": write(),
    "POST autonomy/{pair}/decline": write(409),  # nothing is offered
    "GET pauses": read(),
    "POST pauses": write(201, {"scope": "*"}),
    "POST pauses/{pause}/lift": write(),
    "GET maintenance-windows": read(),
    "POST maintenance-windows": write(201, {"scope": "*", "starts": "03:00", "minutes": 60}),
    "POST maintenance-windows/{window}/end": write(),
    "GET problems": read(),
    "GET problems/{problem}": read(),
    "POST problems/{problem}/note": write(body={"note": "a new disk"}),
    "POST problems/{problem}/close": write(),
    "GET targets": read(),
    "GET targets/{target}": read(),
    "GET targets/{target}/policy": read(opened=False),  # it asks the engine
    "GET notifications": read(),
    "GET memory?q=disk": read(),
    "GET stats": read(),
    "GET slo": read(),
    "GET costs": read(),
    "GET health-checks": read(),
    "POST health-checks": write(202),
    "GET channels": read(OPERATORS, opened=False),
    "POST channels/json-1/test": write(404),  # none is set up
    "GET audit.csv": read(ADMINS, opened=False),
    "GET events": read(ADMINS, opened=False),
    "GET audit.jsonl": read(ADMINS, opened=False),
    "GET deliveries": read(ADMINS, opened=False),
    "GET deliveries/{delivery}": read(ADMINS, opened=False),
    "GET tokens": read(ADMINS, opened=False),
    "POST tokens": write(201, {"name": "new", "role": "viewer"}, ADMINS),
    "POST tokens/{token}/revoke": write(who=ADMINS),
}


@pytest.fixture
def rows(db: None) -> Iterator[dict[str, int]]:
    yield a_household()
    memory.forget_index()


@pytest.fixture
def call(api: Callable[..., Api], person: Callable[..., Client], rows: dict[str, int]) -> Callable[..., Any]:
    """`call("viewer", "GET", "incidents")`: the answer; what it did is undone."""
    clients = {name: api(None if name == "nobody" else name) for name in PLACES}
    clients["person: viewer"] = Api(person(name="robin"))
    clients["person: operator"] = Api(person(staff=True, name="kim"))
    clients["person: admin"] = Api(person(superuser=True, name="alex"))

    def send(caller: str, method: str, path: str, body: Any = None) -> Any:
        client = clients[caller]
        with transaction.atomic():
            answer = client.client.generic(
                method,
                f"/api/v1/{path.format(**rows)}",
                b"" if body is None else json.dumps(body).encode(),
                content_type="application/json",
                headers=client.headers,
            )
            transaction.set_rollback(True)
        return answer

    return send


def expected(caller: str, line: Line, *, open_read: bool) -> int:
    if open_read and line.opened:
        return line.status
    role = caller.removeprefix("person: ")
    if line.who[PLACES[role]] == "y":
        return line.status
    return 401 if role == "nobody" else 403


@pytest.mark.parametrize("open_read", [False, True], ids=["", "open read"])
@pytest.mark.parametrize("caller", CALLERS)
def test_every_caller_at_every_endpoint(
    call: Callable[..., Any], settings: Any, caller: str, open_read: bool
) -> None:
    settings.OPEN_READ = open_read
    answers = {name: call(caller, *name.split(" "), line.body) for name, line in TABLE.items()}
    got = {name: answer.status_code for name, answer in answers.items()}
    assert got == {name: expected(caller, line, open_read=open_read) for name, line in TABLE.items()}
    refused = {name for name, answer in answers.items() if answer.status_code >= 400}
    assert {answers[name]["Content-Type"] for name in refused} <= {"application/problem+json"}


def test_open_read_opens_reading_alone() -> None:
    assert {name.split(" ")[0] for name, line in TABLE.items() if line.opened} == {"GET"}
    assert {line.who for line in TABLE.values() if line.opened} == {VIEWERS}


def test_only_the_methods_of_the_table_are_there(call: Callable[..., Any]) -> None:
    paths = {name.split(" ")[1] for name in TABLE}
    others = [(method, path) for path in paths for method in METHODS if f"{method} {path}" not in TABLE]
    assert {call("admin", *each).status_code for each in others} == {405}


def test_asking_what_may_be_done_is_no_more_open_than_reading(call: Callable[..., Any]) -> None:
    """OPTIONS tells the fields of what may be posted."""
    lines = {name.split(" ")[1]: TABLE.get(name.replace("POST", "GET"), Line(VIEWERS)) for name in TABLE}
    for caller in CALLERS:
        told = {path for path in lines if call(caller, "OPTIONS", path).status_code == 200}
        assert told <= {path for path, line in lines.items() if expected(caller, line, open_read=False) < 400}


def test_no_endpoint_is_missing_from_the_table(rows: dict[str, int]) -> None:
    """An endpoint, or a method of one, that is added must be put into the table above."""
    known = set()
    for name in TABLE:
        method, path = name.split(" ")
        known.add((method, resolve(f"/api/v1/{path.partition('?')[0].format(**rows)}").route))
    assert set(_endpoints()) == known


def _endpoints() -> Iterator[tuple[str, str]]:
    """(method, route) of all that the URL conf has under `/api/v1/`."""
    [api] = [each for each in get_resolver().url_patterns if str(each.pattern) == "api/v1/"]
    assert isinstance(api, URLResolver)
    for each in api.url_patterns:
        assert isinstance(each, URLPattern)
        view: Any = each.callback
        actions = getattr(view, "actions", None)  # a view set's; a view has methods
        for method in METHODS:
            if method.lower() in actions if actions else hasattr(view.cls, method.lower()):
                yield method, f"api/v1/{str(each.pattern).removeprefix('^')}"
