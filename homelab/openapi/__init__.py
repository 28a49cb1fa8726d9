"""Examples in the API's schema: one story, told by each component.

What a component says of its own is in `records` and `crew`, by field. The rest of an example is put together:
what a component holds of others, lists of them, and null for what may be null and is not said.
"""

from __future__ import annotations

from typing import Any

from homelab.openapi.crew import CREW
from homelab.openapi.records import RECORDS, WEBHOOK, Fields

JSON = "application/json"
EXAMPLES = {**RECORDS, **CREW}


class _Unsaid(Exception):
    """Neither an example nor null."""


def add(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A hook of drf-spectacular: an example for each body, and for each answer that is no refusal."""
    components = result["components"]["schemas"]
    result["paths"]["/alert"]["post"]["requestBody"]["content"][JSON]["example"] = WEBHOOK
    for operations in result["paths"].values():
        for operation in operations.values():
            answers = [each for code, each in operation["responses"].items() if code.startswith("2")]
            for place in (operation.get("requestBody", {}), *answers):
                content = place.get("content", {}).get(JSON)
                if content is not None and "example" not in content:
                    content["example"] = _example(content["schema"], components)
    return result


def _example(schema: Fields, components: dict[str, Fields]) -> Any:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if "properties" not in components[name]:  # one of several words
            raise _Unsaid
        return _object(EXAMPLES.get(name, {}), components[name], components)
    if "allOf" in schema:
        return _example(schema["allOf"][0], components)
    if schema.get("type") == "array":
        return [_example(schema["items"], components)]
    if schema.get("nullable"):
        return None
    if "properties" in schema:
        return _object({}, schema, components)
    raise _Unsaid


def _object(said: Fields, schema: Fields, components: dict[str, Fields]) -> Fields:
    """What is said, and what can be put together. What is missing then is missed by the tests."""
    found = {}
    for name, part in schema["properties"].items():
        try:
            found[name] = said[name] if name in said else _example(part, components)
        except _Unsaid:
            continue
    return found
