"""Installed on a phone: the files that it takes, and that nothing of the records is kept there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from struct import unpack

import pytest
from django.conf import settings
from django.test import Client

STATIC = Path(settings.BASE_DIR) / "homelab" / "static" / "homelab"


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = unpack(">II", png[16:24])
    return width, height


def test_the_manifest_names_icons_of_their_size(client: Client) -> None:
    answer = client.get("/static/homelab/manifest.webmanifest")
    assert answer["Content-Type"].startswith("application/manifest+json")
    manifest = json.loads(b"".join(answer.streaming_content))  # type: ignore[attr-defined]
    assert (manifest["start_url"], manifest["scope"], manifest["display"]) == ("/", "/", "standalone")
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
    for icon in manifest["icons"]:
        file = STATIC / icon["src"]
        if file.suffix == ".png":
            assert icon["sizes"] == "{}x{}".format(*size(file.read_bytes()))
        else:
            assert file.is_file()


def test_the_worker_serves_the_whole_site_and_keeps_only_what_is_the_same_for_all(client: Client) -> None:
    answer = client.get("/sw.js")
    assert answer["Content-Type"] == "text/javascript; charset=utf-8"
    assert "no-cache" in answer["Cache-Control"]
    text = answer.content.decode()
    kept = re.findall(r'^  "(/[^"]*)",$', text, re.MULTILINE)
    assert kept
    assert all(path.startswith("/static/homelab/") for path in kept)
    assert "cache.put" not in text
    for path in kept:
        assert client.get(path).status_code == 200, path


@pytest.mark.django_db
def test_the_page_without_a_connection_tells_nobody_who_was_logged_in(person: Callable[..., Client]) -> None:
    page = person(superuser=True).get("/offline").content.decode()
    assert "No connection to homelab" in page
    assert "robin" not in page
    assert "csrf" not in page
    assert page == Client().get("/offline").content.decode()


def test_the_policy_allows_no_other_host() -> None:
    for source in settings.SECURE_CSP.values():
        assert set(source) <= {"'self'", "'none'", "data:"}
