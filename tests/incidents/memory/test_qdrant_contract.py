"""What we send to Qdrant and what the tests' server answers, against the vendor's own OpenAPI file.

The file is not part of the project (github.com/qdrant/qdrant, docs/redoc/master/openapi.json). QDRANT_OPENAPI
names it, or it is looked for in a folder beside the project.
"""

from __future__ import annotations

import copy
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema_rs
import pytest

from incidents.memory.errors import MemoryUnavailable, ModelReplaced
from incidents.memory.store_server import ServerStore
from tests.e2e.require import TEST_ALL
from tests.incidents.memory.qdrant_server import Exchange, FakeQdrant, Refusal
from tests.incidents.memory.test_store import asked, entry, vectors, wordy

BESIDE = Path(__file__).resolve().parents[4] / "shared" / "vendor-apis" / "qdrant.openapi.json"
KEY = "only-this-key"


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    """The vendor's description. Without it this is not tested, and that is said; no package brings it."""
    path = Path(os.environ.get("QDRANT_OPENAPI") or BESIDE)
    if path.is_file():
        return dict(json.loads(path.read_text()))
    lack = "Qdrant's OpenAPI file is not here (QDRANT_OPENAPI=FILE names it)"
    if os.environ.get(TEST_ALL) != "1":
        pytest.skip(lack)
    warnings.warn(f"NOT TESTED: {lack}", stacklevel=1)
    return {}


@pytest.fixture(scope="module")
def exchanges() -> list[Exchange]:
    """All that the memory asks of a server, once with an error of each kind."""
    with FakeQdrant(KEY).running() as server:
        server.exchanges = []
        store = ServerStore(server.url, KEY, "past")
        store.write([entry(1, rows=3), wordy(2, "the certificate expires")])
        store.ready()
        store.count()
        store.search(asked(vectors(1), "the disk", also=(2, 77)))
        store.search(asked(None, "certificate"))
        beside, name, _ = store.beside(None, "other", 16)
        store.beside(name, "other", 16)
        beside.write([entry(3, model="other", size=16)])
        store.switch(name)
        with pytest.raises(ModelReplaced):
            store.search(asked(vectors(1)))
        store.delete(3)
        for status in (429, 500, 503):
            server.next_refusals.append(Refusal(status, "not now", {"Retry-After": "1"}))
            with pytest.raises(MemoryUnavailable):
                store.count()
        with pytest.raises(MemoryUnavailable):
            ServerStore(server.url, "another", "past").count()
        store.write([entry(4, model="other", size=16)])
        with pytest.raises(MemoryUnavailable):
            beside.write([entry(5, model="other", size=7)])
        server.collections.clear()
        with pytest.raises(MemoryUnavailable):
            store.write([entry(4, model="other", size=16)])
        return server.exchanges


def test_every_answer_and_every_request_is_as_the_vendor_describes(
    api: dict[str, Any], exchanges: list[Exchange]
) -> None:
    if not api:
        return
    seen = set()
    for exchange in exchanges:
        template, operation = _operation(api, exchange)
        seen.add((exchange.method, template, exchange.status))
        if exchange.body and "requestBody" in operation:
            _check(api, operation["requestBody"], exchange.body, exchange, strict=True)
        answers = operation["responses"]
        described = answers.get(str(exchange.status)) or answers.get(f"{exchange.status // 100}XX")
        _check(api, described or answers["default"], exchange.answer, exchange, strict=False)
    points = "/collections/{collection_name}/points"
    assert {
        ("PUT", "/collections/{collection_name}", 200),
        ("POST", "/collections/aliases", 200),
        ("PUT", points, 200),
        ("POST", f"{points}/query/batch", 200),
        ("POST", f"{points}/query/batch", 400),
        ("POST", f"{points}/count", 429),
        ("POST", f"{points}/count", 401),
        ("PUT", points, 404),
    } <= seen


def test_a_wrong_word_in_a_request_would_be_noticed(api: dict[str, Any]) -> None:
    if not api:
        return
    path = "/collections/homelab_past/points/query/batch"
    wrong: tuple[dict[str, Any], ...] = ({"search": []}, {"searches": [{"query": [0.1], "limits": 3}]})
    for body in wrong:
        exchange = Exchange("POST", path, body, 200, {})
        _, operation = _operation(api, exchange)
        with pytest.raises(AssertionError):
            _check(api, operation["requestBody"], body, exchange, strict=True)


def _operation(api: dict[str, Any], exchange: Exchange) -> tuple[str, dict[str, Any]]:
    """The most literal path that fits."""
    for template in sorted(api["paths"], key=lambda path: path.count("{")):
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        method = exchange.method.lower()
        if re.fullmatch(pattern, unquote(exchange.path)) and method in api["paths"][template]:
            return template, api["paths"][template][method]
    raise AssertionError(f"Qdrant has no {exchange.method} {exchange.path}")


def _check(
    api: dict[str, Any], described: dict[str, Any], value: Any, exchange: Exchange, *, strict: bool
) -> None:
    schema = described["content"]["application/json"]["schema"]
    whole = {**copy.deepcopy(schema), "components": copy.deepcopy(api["components"])}
    for each in _objects(whole):
        _as_json_schema(each, strict=strict)
    errors = [error.message for error in jsonschema_rs.Draft7Validator(whole).iter_errors(value)]
    assert not errors, f"{exchange.method} {exchange.path} ({exchange.status}): {errors[0][:500]}"


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)


def _as_json_schema(schema: dict[str, Any], *, strict: bool) -> None:
    """OpenAPI 3.0 says `nullable`. `strict`: what is not described may not be sent."""
    if schema.get("nullable") is True:
        del schema["nullable"]
        if "type" in schema:
            schema["type"] = [schema["type"], "null"]
        elif not schema:
            schema["type"] = "null"
    if strict and isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
