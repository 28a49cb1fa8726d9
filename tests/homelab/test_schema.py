"""The OpenAPI schema is complete, valid, and free of warnings."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

from tests.conftest import Api

pytestmark = pytest.mark.django_db


def test_the_schema_is_valid_without_a_warning() -> None:
    out = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    schema = yaml.safe_load(out.getvalue())
    assert schema["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert schema["paths"]["/alert/"]["post"]["security"] == [{"token": []}]
    assert "security" not in schema["paths"]["/health/"]["get"] or schema["paths"]["/health/"]["get"][
        "security"
    ] == [{}]


def test_the_page_of_the_schema_needs_no_other_server(viewer: Api, person: Callable[..., Client]) -> None:
    assert viewer.get("/api/schema").status_code == 200
    page = person().get("/api/docs").content.decode()
    assert "/static/drf_spectacular_sidecar/" in page
    assert "https://" not in page
    assert "http://" not in page
