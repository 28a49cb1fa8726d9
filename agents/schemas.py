"""JSON schemas as a model reads them: what it has to know, and no byte more. Code checks the rest."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

# Names that nobody reads, and bounds that are told when they are broken.
DROPPED = ("title", "additionalProperties", "minLength", "maxLength")


@functools.cache
def schema_of(model: type[BaseModel]) -> Mapping[str, Any]:
    """The schema of a model's fields, references filled in. Not to be changed by who gets it."""
    whole = model.model_json_schema()
    known = whole.pop("$defs", {})
    slim: dict[str, Any] = _slim(whole, known)
    slim.pop("description", None)  # the tool's own, said beside the schema
    return slim


def _slim(node: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_slim(each, known) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        named = _slim(known[node["$ref"].rsplit("/", 1)[-1]], known)
        return {name: each for name, each in named.items() if name != "description"}
    slim = {name: _field(name, each, known) for name, each in node.items() if name not in DROPPED}
    if slim.get("default", ...) in (None, ""):  # the same as leaving it out
        del slim["default"]
    options = [each for each in slim.pop("anyOf", []) if each != {"type": "null"}]
    return {**slim, **options[0]} if len(options) == 1 else {**slim, "anyOf": options} if options else slim


def _field(name: str, value: Any, known: Mapping[str, Any]) -> Any:
    if name == "properties":  # here the names are the fields', `title` included
        return {field: _slim(each, known) for field, each in value.items()}
    return _slim(value, known)
