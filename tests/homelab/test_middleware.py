"""Bodies of unknown length, and answers to programs that ask for what is not there."""

from __future__ import annotations

import pytest

from tests.conftest import Api

pytestmark = pytest.mark.django_db


def test_a_body_without_a_length_is_refused_rather_than_taken_for_empty(operator: Api) -> None:
    answer = operator.post("/api/v1/pauses", {"scope": "*"}, **{"Transfer-Encoding": "chunked"})
    assert (answer.status_code, answer["Content-Type"]) == (411, "application/problem+json")
    assert answer.json()["detail"] == "send the body with a Content-Length"


def test_an_unknown_endpoint_of_the_api_answers_in_json(viewer: Api) -> None:
    for path in ("/api/v1/nothing", "/api", "/api/v1/incidents/abc"):
        answer = viewer.get(path)
        assert answer.status_code == 404
        assert "there is no" in answer.json()["detail"]


def test_the_pages_of_the_schema_are_for_reading(viewer: Api) -> None:
    for path in ("/api/docs", "/api/schema"):
        answer = viewer.client.options(path, headers=viewer.headers)
        assert answer.status_code == 405
