"""What drf-spectacular cannot see by itself: the token, the tags, and the refusals of every endpoint."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from incidents.api.errors import MEDIA_TYPE, told

V1 = "/api/v1/"
ID_PATTERN = "^[0-9]{1,18}$"
ROOT_TAG = "root"
TAGS = {
    "incidents": "A trouble from its first alert to its verdict, and what people do with it.",
    "alerts": "Each alert from its firing to its end.",
    "actions": "Changes to the world: proposed, decided, and at most once executed.",
    "autonomy": "Which kinds of change ask first, and what they came to.",
    "pauses": "While a pause holds, nothing is changed in its scope.",
    "maintenance-windows": "Times of the week in which nothing is changed in a scope.",
    "problems": "Troubles that come back.",
    "targets": "The inventory: what alerts are about.",
    "memory": "What is remembered of past incidents.",
    "stats": "What a period came to.",
    "slo": "Service levels, week by week.",
    "costs": "What the models took.",
    "health-checks": "What homelab stands on, and what the scheduled check found.",
    "notifications": "Messages to people.",
    "channels": "Where people are told.",
    "events": "What happened, of every incident and of none, for admins.",
    "audit": "What people and the crew decided, as a file, for admins.",
    "deliveries": "Requests to `/alert`, byte for byte, for admins.",
    "tokens": "Who may call the API, for admins.",
    ROOT_TAG: 'For Alertmanager, probes and simple readers. Errors here are `{"detail": …}`, or by field.',
}
REFUSALS = {
    "400": "A parameter or the body is not valid: `errors` says which and why.",
    "401": "No token, an unknown one, and no login.",
    "403": "The role of the caller may not do this.",
    "404": "There is no such row.",
    "409": "As things stand there is nothing to do; `detail` says why.",
    "410": "The question is answered, withdrawn or expired; `action_status` says what became of the action.",
    "502": "The other side refused; `detail` says what it said.",
    "default": "Any other refusal: 405, 406, 411, 413, 415; 429 after too many unknown tokens; 503 while the "
    "database or the memory does not answer.",
}


# In examples: the type, the words for people, and what else is said.
DETAILS: dict[str, tuple[str | None, str, dict[str, Any]]] = {
    "400": (
        "invalid-fields",
        "limit: A valid integer is required.",
        {"errors": {"limit": ["A valid integer is required."]}},
    ),
    "401": (None, "Authentication credentials were not provided.", {}),
    "403": (None, "You do not have permission to perform this action.", {}),
    "410": (
        "not-waiting",
        "restart container docker:nas/jellyfin is expired",
        {"action_status": "expired"},
    ),
    "default": (None, "the database cannot be used at the moment", {}),
}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """`Authorization: Bearer TOKEN`."""

    target_class = "incidents.access.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class Schema(AutoSchema):
    """Operations are grouped by what they are about."""

    def get_summary(self) -> str:
        """The first sentence."""
        return str(self.get_description()).partition(". ")[0].removesuffix(".")

    def get_tags(self) -> list[str]:
        first = re.split(r"[/.]", self.path.removeprefix(V1))[0]
        return [first if self.path.startswith(V1) else ROOT_TAG]


def finish(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A hook of drf-spectacular: paths as they are written everywhere else, and each endpoint's refusals."""
    result["paths"] = {path.rstrip("/"): operations for path, operations in result["paths"].items()}
    result["tags"] = [{"name": name, "description": words} for name, words in TAGS.items()]
    for path, operations in result["paths"].items():
        if path.startswith(V1):
            for operation in operations.values():
                _finish(operation, path)
    return result


def _finish(operation: dict[str, Any], path: str) -> None:
    declared = [code for code in operation["responses"] if code in REFUSALS]
    for code in (*declared, *_refused_by(operation)):
        operation["responses"][code] = _refusal(code, path)
    for parameter in operation.get("parameters", ()):
        if parameter["schema"].get("pattern") == ID_PATTERN:
            parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": int("9" * 18)}


def _refused_by(operation: dict[str, Any]) -> list[str]:
    places = {parameter["in"] for parameter in operation.get("parameters", ())}
    unwanted = {"409", "410", "502"}  # where they occur, the view says so
    if "query" not in places and "requestBody" not in operation:
        unwanted.add("400")
    if "path" not in places:
        unwanted.add("404")
    return [code for code in REFUSALS if code not in unwanted]


def _refusal(code: str, path: str) -> dict[str, Any]:
    number = 503 if code == "default" else int(code)
    kind, detail, more = DETAILS.get(code, (None, REFUSALS[code], {}))
    content = {"schema": {"$ref": "#/components/schemas/HttpProblem"}}
    example = told(number, detail, path, kind=kind, **more)
    return {"description": REFUSALS[code], "content": {MEDIA_TYPE: {**content, "example": example}}}
