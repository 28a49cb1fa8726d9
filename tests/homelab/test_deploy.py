"""With an https PUBLIC_URL: Django's own deployment check is clean, and each loosened setting spoils it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as loaded
from django.core.checks import Tags, run_checks
from django.test import Client

from tests.conftest import Api
from tests.homelab.test_env import settings_with

CHECK = """
import django
django.setup()
from django.core.management import call_command
call_command("check", deploy=True, fail_level="WARNING")
"""
PUBLIC = "https://homelab.example.org"


def test_the_deployment_check_is_clean(tmp_path: Path) -> None:
    checked = settings_with(tmp_path, code=CHECK, PUBLIC_URL=PUBLIC)
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


def test_what_it_is_told_not_to_say() -> None:
    """HSTS for subdomains, and for a list in browsers: the owner's other hosts are not ours to bind."""
    assert loaded.SILENCED_SYSTEM_CHECKS == ["security.W005", "security.W021"]


def without(*middleware: str) -> list[str]:
    return [each for each in loaded.MIDDLEWARE if not each.endswith(middleware)]


@pytest.mark.usefixtures("behind_tls")
@pytest.mark.parametrize(
    ("name", "loosened", "said"),
    [
        ("SECURE_HSTS_SECONDS", 0, "W004"),
        ("SECURE_CONTENT_TYPE_NOSNIFF", False, "W006"),
        ("SECURE_SSL_REDIRECT", False, "W008"),
        ("SECRET_KEY", "short", "W009"),
        ("SESSION_COOKIE_SECURE", False, "W012"),
        ("CSRF_COOKIE_SECURE", False, "W016"),
        ("SESSION_COOKIE_HTTPONLY", False, "W015"),
        ("DEBUG", True, "W018"),
        ("X_FRAME_OPTIONS", "SAMEORIGIN", "W019"),
        ("ALLOWED_HOSTS", [], "W020"),
        ("SECURE_REFERRER_POLICY", None, "W022"),
        ("SECURE_CROSS_ORIGIN_OPENER_POLICY", "all", "E024"),
        ("MIDDLEWARE", without(".SecurityMiddleware"), "W001"),
        ("MIDDLEWARE", without(".XFrameOptionsMiddleware"), "W002"),
        ("MIDDLEWARE", without(".CsrfViewMiddleware"), "W003"),
    ],
)
def test_anything_loosened_is_found(settings: Any, name: str, loosened: object, said: str) -> None:
    def found() -> set[str]:
        checks = run_checks(tags=[Tags.security], include_deployment_checks=True)
        return {str(each.id) for each in checks if not each.is_silenced()}

    assert found() == set()
    setattr(settings, name, loosened)
    assert f"security.{said}" in found()


HSTS = "from django.conf import settings as s; print(s.SECURE_HSTS_SECONDS, s.SESSION_COOKIE_SECURE)"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (PUBLIC, "2592000 True"),
        ("https://nas.lan:8443", "0 True"),  # a browser would hold the host's other ports to it
        ("http://nas.lan", "0 False"),
        ("", "0 False"),
    ],
)
def test_hsts_is_for_a_host_of_its_own(tmp_path: Path, url: str, said: str) -> None:
    assert settings_with(tmp_path, code=HSTS, PUBLIC_URL=url).stdout.strip() == said


def test_a_short_secret_key_stops_the_start(tmp_path: Path) -> None:
    done = settings_with(tmp_path, SECRET_KEY="hunter2")
    assert done.returncode != 0
    assert "SECRET_KEY: wants at least 50 characters" in done.stderr
    assert "hunter2" not in done.stderr.splitlines()[-1]


@pytest.fixture
def behind_tls(settings: Any) -> None:
    """As with PUBLIC_URL=https://homelab.example.org."""
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_SSL_HOST = "homelab.example.org"
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 60
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.ALLOWED_HOSTS = ["homelab.example.org", "testserver"]


@pytest.mark.usefixtures("behind_tls")
@pytest.mark.django_db
class TestBehindTls:
    @pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
    def test_probes_speak_plain_http(self, path: str) -> None:
        assert Client().get(path).status_code == 200

    def test_alertmanager_speaks_plain_http(self, ingest: Api) -> None:
        for path in ("/alert", "/alert/"):
            assert ingest.post(path, {"alerts": []}).status_code == 200

    @pytest.mark.parametrize("path", ["/", "/login", "/admin/", "/stats", "/healthy", "/alerts", "/api/docs"])
    def test_a_page_is_read_over_https(self, path: str) -> None:
        answer = Client().get(path, headers={"Host": "testserver"})
        assert (answer.status_code, answer["Location"]) == (301, f"https://homelab.example.org{path}")

    @pytest.mark.parametrize(
        "path", ["/login", "/logout", "/admin/login/", "/trigger-health-check", "/api/v1/pauses", "/nowhere"]
    )
    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    def test_nothing_with_a_body_is_redirected(self, method: str, path: str, operator: Api) -> None:
        answer = getattr(Client(), method)(path, headers=operator.headers)
        assert answer.status_code == 403
        assert answer.json()["detail"] == f"only over https: https://homelab.example.org{path}"

    def test_over_https_all_is_as_ever(self, operator: Api, django_user_model: Any) -> None:
        django_user_model.objects.create_user("robin", password="only for tests")
        secure = {"X-Forwarded-Proto": "https"}
        assert operator.post("/trigger-health-check", **secure).status_code == 202
        page = Client().get("/login", headers=secure)
        assert page["Strict-Transport-Security"] == "max-age=60"
        assert page.cookies["csrftoken"]["secure"]
        data = {"username": "robin", "password": "only for tests"}
        session = Client().post("/login", data, headers=secure).cookies["sessionid"]
        assert (session["secure"], session["httponly"], session["samesite"]) == (True, True, "Lax")

    def test_a_forged_host_is_not_where_one_is_sent(self) -> None:
        answer = Client().get("/", headers={"Host": "evil.example"})
        assert answer.status_code == 400 or answer["Location"].startswith("https://homelab.example.org/")


@pytest.mark.django_db
def test_without_https_nothing_is_redirected(client: Client) -> None:
    assert client.get("/login").status_code == 200
    assert "Strict-Transport-Security" not in client.get("/login")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/login", "/stats", "/nowhere", "/admin/login/", "/health", "/static/homelab/live.js"]
)
def test_every_answer_says_what_a_browser_may_do_with_it(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    policy = answer["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "frame-ancestors 'none'" in policy
    assert ("unsafe" in policy) is path.startswith("/admin/"), "only what the admin's menus need, and there"
    assert "http" not in policy
