"""JSON schemas in the form that strict tools take: every field required, none besides, few keywords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEPT = frozenset({"type", "description", "enum", "const", "items", "properties", "anyOf", "$ref", "$defs"})


def schema(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The strict form, in which an optional field may be null; None when there is none.

    What is dropped (lengths, ranges, defaults) is still checked when the answer comes.
    """
    try:
        return _node(given)
    except _Open:
        return None


class _Open(Exception):
    """An object with names of its own, such as a dictionary of labels, has no strict form."""


def _node(given: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in given:
        return {"$ref": given["$ref"]}  # beside which nothing may stand
    kept = {name: value for name, value in given.items() if name in KEPT}
    if not kept.keys() & {"type", "enum", "const", "anyOf"}:
        raise _Open  # anything goes
    if kept.get("type") == "object":
        if given.get("additionalProperties") or "properties" not in given:
            raise _Open
        required = given.get("required", ())
        fields = given.get("properties", {})
        kept["properties"] = {
            name: _node(each) if name in required else _nullable(_node(each)) for name, each in fields.items()
        }
        kept["required"] = list(fields)
        kept["additionalProperties"] = False
    if isinstance(kept.get("items"), Mapping):
        kept["items"] = _node(kept["items"])
    if "anyOf" in kept:
        kept["anyOf"] = [_node(each) for each in kept["anyOf"]]
    if "$defs" in kept:
        kept["$defs"] = {name: _node(each) for name, each in kept["$defs"].items()}
    return kept


def _nullable(node: dict[str, Any]) -> dict[str, Any]:
    options = node.get("anyOf", [node])
    if any(option.get("type") == "null" for option in options):
        return node
    if isinstance(node.get("type"), str) and "enum" not in node and "const" not in node:
        return {**node, "type": [node["type"], "null"]}
    described = {"description": node["description"]} if "description" in node else {}
    return {**described, "anyOf": [*options, {"type": "null"}]}
