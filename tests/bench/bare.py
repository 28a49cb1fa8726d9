"""The yardstick: a Django view that only inserts one row, in the same gunicorn with as many threads."""

from __future__ import annotations

import os
from contextlib import suppress

import dj_database_url
import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import IntegrityError, ProgrammingError, connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

TABLE = "CREATE TABLE IF NOT EXISTS bare (id {key}, body TEXT NOT NULL)"
KEYS = {"sqlite": "INTEGER PRIMARY KEY", "postgresql": "BIGSERIAL PRIMARY KEY"}


def insert(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bare (body) VALUES (%s)", [request.body.decode()])
    return HttpResponse(b"{}", content_type="application/json", headers={"Content-Length": "2"})


urlpatterns = [path("alert", insert)]


def make() -> WSGIHandler:
    """The application; its table is there when it returns."""
    database = dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=600)
    if database["ENGINE"].endswith("sqlite3"):
        pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        database["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": pragmas}
    settings.configure(
        DATABASES={"default": database},
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="bench",
        MIDDLEWARE=[],
        USE_TZ=True,
    )
    django.setup()
    # Another worker may be faster.
    with suppress(IntegrityError, ProgrammingError), connection.cursor() as cursor:
        cursor.execute(TABLE.format(key=KEYS[connection.vendor]))
    connection.close()
    return WSGIHandler()
