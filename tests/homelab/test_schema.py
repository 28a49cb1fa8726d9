"""The OpenAPI schema is complete, valid, and free of warnings."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from jsonschema_rs import Draft4Validator

from tests.conftest import Api
from tests.homelab.household import a_household

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """As the command writes it; a warning or a fault ends it."""
    out = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    found: dict[str, Any] = yaml.safe_load(out.getvalue())
    return found


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_schema_is_valid_without_a_warning(schema: dict[str, Any]) -> None:
    assert schema["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert schema["paths"]["/alert"]["post"]["security"] == [{"token": []}]
    assert schema["paths"]["/health"]["get"].get("security", [{}]) == [{}]


def test_every_operation_says_what_it_is_for(schema: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in schema["tags"] if tag["description"]}
    assert [name for name, operation in operations(schema) if not operation.get("description")] == []
    summaries = [operation["summary"] for _, operation in operations(schema)]
    assert [summary for summary in summaries if not 0 < len(summary) <= 120] == []
    assert [name for name, operation in operations(schema) if not set(operation["tags"]) <= tags] == []
    assert tags == {tag for _, operation in operations(schema) for tag in operation["tags"]}


def test_every_refusal_of_the_api_is_a_problem(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        refusals = {code: each for code, each in operation["responses"].items() if not code.startswith("2")}
        if "/api/v1/" in name:
            assert {"401", "403", "default"} <= set(refusals), name
            assert ("404" in refusals) == ("{" in name), name
            assert {media for each in refusals.values() for media in each["content"]} == {
                "application/problem+json"
            }, name


def test_every_body_and_answer_has_an_example_that_fits(schema: dict[str, Any]) -> None:
    as_json_schema = nullable_as_type(schema)
    for name, operation in operations(as_json_schema):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for media, content in _contents([*bodies, *operation["responses"].values()]):
            if media not in ("application/json", "application/problem+json") or (
                "/api/v1/" not in name and "example" not in content
            ):
                continue  # a file, or what the root says of errors
            assert content["example"], name
            whole = {**content["schema"], "components": as_json_schema["components"]}
            faults = [
                f"{name}: {each}"
                for each in Draft4Validator(whole, validate_formats=True).iter_errors(content["example"])
            ]
            assert faults == []


def test_the_examples_of_bodies_are_taken(schema: dict[str, Any], admin: Api) -> None:
    rows = a_household()
    ids = {"incidents": "incident", "problems": "problem", "actions": "action"}
    taken = {}
    for name, operation in operations(schema):
        method, path = name.split(" ")
        if method == "POST" and "requestBody" in operation and path.startswith("/api/v1/"):
            number = rows[ids[path.split("/")[3]]] if "{id}" in path else None
            example = operation["requestBody"]["content"]["application/json"]["example"]
            with transaction.atomic():
                taken[name] = admin.post(path.replace("{id}", str(number)), example).status_code
                transaction.set_rollback(True)
    assert len(taken) > 10
    assert {name: status for name, status in taken.items() if status not in (200, 201)} == {}


def _contents(places: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for place in places:
        yield from place["content"].items()


def nullable_as_type(schema: Any) -> Any:
    """OpenAPI 3.0 in the words of JSON Schema, which has no `nullable`. What is not declared is a fault."""
    if isinstance(schema, list):
        return [nullable_as_type(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: nullable_as_type(each) for name, each in schema.items() if name != "example"}
    if "example" in schema:
        found["example"] = schema["example"]
    if isinstance(found.get("properties"), dict):
        found.setdefault("additionalProperties", False)
    if found.pop("nullable", False) is True:
        return {"anyOf": [found, {"type": "null"}]}
    return found


def test_the_page_of_the_schema_needs_no_other_server(viewer: Api, person: Callable[..., Client]) -> None:
    assert viewer.get("/api/schema").status_code == 200
    page = person().get("/api/docs").content.decode()
    assert "/static/drf_spectacular_sidecar/" in page
    assert "https://" not in page
    assert "http://" not in page
