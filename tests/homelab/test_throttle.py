"""Guessing is slow: wrong passwords and tokens are counted by address, in the database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from incidents import clients, throttle
from incidents.models import FailureCounter
from tests.conftest import Api

pytestmark = pytest.mark.django_db
PASSWORD = "only for tests"
DOORS = ("/login", "/admin/login/")


@pytest.fixture
def robin(django_user_model: Any) -> str:
    django_user_model.objects.create_superuser("robin", password=PASSWORD)
    return "robin"


def log_in(path: str, password: str, **extra: Any) -> Any:
    return Client().post(path, {"username": "robin", "password": password, "next": "/"}, **extra)


def later(seconds: float) -> None:
    """As if so much time had passed."""
    for counter in FailureCounter.objects.all():
        FailureCounter.objects.filter(pk=counter.pk).update(until=counter.until - timedelta(seconds=seconds))


@pytest.mark.parametrize("path", DOORS)
def test_after_too_many_wrong_passwords_even_the_right_one_waits(robin: str, path: str) -> None:
    answers = [log_in(path, "wrong").status_code for _ in range(throttle.ALLOWED + 2)]
    assert answers == [200] * throttle.ALLOWED + [429] * 2
    refused = log_in(path, PASSWORD)
    assert refused.status_code == 429
    assert "Try again in" in refused.content.decode()
    assert 0 < int(refused["Retry-After"]) <= throttle.EACH.total_seconds()
    later(throttle.EACH.total_seconds())
    assert log_in(path, PASSWORD).status_code == 302


def test_both_doors_count_together(robin: str) -> None:
    answers = [log_in(DOORS[each % 2], "wrong").status_code for each in range(throttle.ALLOWED + 1)]
    assert answers[-1] == 429


def test_a_right_password_counts_for_nothing(robin: str) -> None:
    for _ in range(throttle.ALLOWED * 2):
        assert log_in("/login", PASSWORD).status_code == 302


def test_a_right_password_does_not_forgive_the_wrong_ones(robin: str) -> None:
    for _ in range(throttle.ALLOWED - 1):
        log_in("/login", "wrong")
    assert log_in("/login", PASSWORD).status_code == 302
    assert log_in("/login", "wrong").status_code == 200
    assert log_in("/login", "wrong").status_code == 429


def test_the_password_of_one_who_waits_is_not_even_looked_at(
    robin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(throttle.ALLOWED):
        log_in("/login", "wrong")
    looked: list[str] = []
    monkeypatch.setattr("django.contrib.auth.forms.authenticate", lambda *_, **__: looked.append("x"))
    assert log_in("/login", PASSWORD).status_code == 429
    assert looked == []


def test_another_address_is_not_concerned(robin: str) -> None:
    for _ in range(throttle.ALLOWED + 1):
        log_in("/login", "wrong", REMOTE_ADDR="192.0.2.1")
    assert log_in("/login", "wrong", REMOTE_ADDR="192.0.2.1").status_code == 429
    assert log_in("/login", PASSWORD, REMOTE_ADDR="192.0.2.2").status_code == 302


def test_a_header_of_the_clients_own_gives_no_new_address(robin: str) -> None:
    answers = [
        log_in("/login", "wrong", HTTP_X_FORWARDED_FOR=f"198.51.100.{each}").status_code
        for each in range(throttle.ALLOWED + 1)
    ]
    assert answers[-1] == 429


def test_behind_a_trusted_proxy_each_client_has_its_own_count(robin: str, settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]
    forged = "203.0.113.9, "  # what the client sent itself stands before what the proxy adds
    for each in range(throttle.ALLOWED + 1):
        last = log_in("/login", "wrong", HTTP_X_FORWARDED_FOR=f"10.9.9.{each}, {forged}192.0.2.1")
    assert last.status_code == 429
    assert log_in("/login", PASSWORD, HTTP_X_FORWARDED_FOR=f"{forged}192.0.2.2").status_code == 302


def test_wrong_tokens_wait_and_a_good_one_never_does(viewer: Api) -> None:
    stranger = Api(Client(), "hl_wrong")
    answers = [stranger.get("/stats") for _ in range(throttle.ALLOWED + 1)]
    assert [answer.status_code for answer in answers] == [401] * throttle.ALLOWED + [429]
    assert 0 < int(answers[-1]["Retry-After"]) <= throttle.EACH.total_seconds()
    assert "too many unknown tokens" in answers[-1].json()["detail"]
    assert viewer.get("/stats").status_code == 200


def test_wrong_tokens_do_not_keep_people_from_logging_in(robin: str) -> None:
    """An Alertmanager with an old token must not lock out who comes from the same address."""
    for _ in range(throttle.ALLOWED + 1):
        Api(Client(), "hl_wrong").get("/stats")
    assert log_in("/login", PASSWORD).status_code == 302


def test_a_sender_with_a_wrong_token_is_told_so_however_often_it_asks(
    ingest: Api, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Api(Client(), "hl_wrong")
    for _ in range(throttle.ALLOWED + 5):
        assert stranger.post("/alert", {"alerts": []}).status_code == 401
    assert ingest.post("/alert", {"alerts": []}).status_code == 200
    said = [line for line in caplog.messages if "too many failures" in line]
    assert said == ["too many failures at the token door from 127.0.0.1"]


def test_a_good_token_costs_no_statement(viewer: Api) -> None:
    viewer.get("/api/v1/pauses")  # remembers the token
    with CaptureQueriesContext(connection) as seen:
        assert viewer.get("/api/v1/pauses").status_code == 200
    assert [query for query in seen.captured_queries if "failurecounter" in query["sql"]] == []


def test_who_waits_writes_nothing() -> None:
    request = RequestFactory().get("/")
    while throttle.attempt(request, "token") is None:
        pass
    with CaptureQueriesContext(connection) as seen:
        assert throttle.attempt(request, "token")
    assert [query["sql"].split()[0] for query in seen.captured_queries] == ["SELECT"]


def test_any_number_of_addresses_fills_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "COUNTERS", 8)
    for each in range(100):
        throttle.attempt(RequestFactory().get("/", REMOTE_ADDR=f"10.0.0.{each}"), "token")
    assert FailureCounter.objects.count() <= 8
    assert not FailureCounter.objects.filter(key__contains="10.0.0").exists()


def test_which_addresses_share_a_counter_depends_on_the_secret_key(settings: Any) -> None:
    mine = throttle._key("192.0.2.1", "login")
    settings.SECRET_KEY = "another" * 10
    assert throttle._key("192.0.2.1", "login") != mine


@pytest.mark.django_db(transaction=True)
def test_guesses_side_by_side_are_counted_one_by_one() -> None:
    """Each thread has a connection of its own, as each process has."""
    throttle.attempt(RequestFactory().get("/"), "login")
    passed: list[int | None] = []

    def guess() -> None:
        try:
            for _ in range(5):
                passed.append(throttle.attempt(RequestFactory().get("/"), "login"))
        finally:
            connection.close()

    threads = [threading.Thread(target=guess) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert len(passed) == 30
    assert passed.count(None) == throttle.ALLOWED - 1


def test_counters_are_passed_by_time() -> None:
    request = RequestFactory().get("/")
    while throttle.attempt(request, "login") is None:
        pass
    FailureCounter.objects.update(until=timezone.now() - timedelta(days=1))
    assert [throttle.attempt(request, "login") for _ in range(throttle.ALLOWED)] == [None] * throttle.ALLOWED


PROXIES = [ip_network("10.0.0.0/24"), ip_network("fd00::/64")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),  # no proxy of ours
        ("10.0.0.5", None, "10.0.0.5"),
        ("10.0.0.5", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.5", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.5", "198.51.100.1, 10.0.0.6", "198.51.100.1"),  # two proxies in a row
        ("10.0.0.5", "10.0.0.6", "10.0.0.5"),
        ("10.0.0.5", "198.51.100.1, nonsense", "10.0.0.5"),
        ("10.0.0.5", "", "10.0.0.5"),
        ("::ffff:10.0.0.5", "198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("", "198.51.100.1", "unknown"),  # a unix socket
    ],
)
def test_whose_request_it_is(settings: Any, peer: str, forwarded: str | None, client: str) -> None:
    settings.TRUSTED_PROXIES = PROXIES
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)
    assert clients.address(request) == client


def test_a_household_is_one_client() -> None:
    assert clients.network("2001:db8:0:1::7") == clients.network("2001:db8:0:1:ffff::1")
    assert clients.network("2001:db8:0:1::7") != clients.network("2001:db8:0:2::7")
    assert clients.network("192.0.2.1") != clients.network("192.0.2.2")


def test_a_form_without_its_csrf_token_counts_for_nothing(robin: str, person: Callable[..., Client]) -> None:
    strict = Client(enforce_csrf_checks=True)
    for _ in range(throttle.ALLOWED + 1):
        assert strict.post("/login", {"username": "robin", "password": "x"}).status_code == 403
    assert log_in("/login", PASSWORD).status_code == 302
