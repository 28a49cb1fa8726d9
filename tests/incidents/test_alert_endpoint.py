"""`POST /alert`: what real Alertmanagers send is kept, what is wrong gets its own 4xx."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from rest_framework.exceptions import ParseError

from incidents import intake
from incidents.access import create_token
from incidents.api.body import declared_length, read_body
from incidents.models import Delivery, Episode, Incident
from tests.conftest import Api

pytestmark = pytest.mark.django_db
Golden = Callable[[str], bytes]


def an_alert(**changes: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "DiskFull", "severity": "warning", "instance": "nas"},
        "annotations": {"summary": "the disk is full"},
        "startsAt": "2026-11-23T04:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "f00d",
        **changes,
    }


def a_webhook(*alerts: Any, **changes: Any) -> dict[str, Any]:
    return {"version": "4", "groupKey": "{}:{}", "alerts": list(alerts or [an_alert()]), **changes}


def test_the_answer_says_what_was_stored(ingest: Api, golden: Golden) -> None:
    answer = ingest.post("/alert", golden("firing_grouped_3alerts"))
    assert answer.status_code == 200
    incident = Incident.objects.get()
    assert answer.json() == {"status": "accepted", "alerts": 3, "quarantined": 0, "incidents": [incident.pk]}
    assert Delivery.objects.get().body == golden("firing_grouped_3alerts")
    assert Episode.objects.firing().count() == 3


def test_a_trailing_slash_needs_no_redirect(ingest: Api, golden: Golden) -> None:
    assert ingest.post("/alert/", golden("firing_single")).status_code == 200
    assert Incident.objects.count() == 1


def test_each_alerts_own_status_counts_not_the_groups(ingest: Api, golden: Golden) -> None:
    """The top level says firing; one of the three alerts is resolved."""
    ingest.post("/alert", golden("firing_grouped_3alerts"))
    ingest.post("/alert", golden("grouped_partial_resolved_status_firing"))
    ended = {episode.labels["instance"]: episode.ends_at for episode in Episode.objects.all()}
    assert ended == {
        "127.0.0.1:19101": datetime(2026, 11, 23, 4, 6, 41, 632000, tzinfo=UTC),
        "127.0.0.1:19102": None,
        "127.0.0.1:19103": None,
    }


def test_the_end_of_a_firing_alert_in_the_year_1_is_no_end(ingest: Api, golden: Golden) -> None:
    ingest.post("/alert", golden("firing_single"))
    assert Episode.objects.get().ends_at is None


@pytest.mark.parametrize(
    "name",
    [
        "firing_single",
        "firing_grouped_3alerts",
        "grouped_partial_resolved_status_firing",
        "resolved_2alerts",
        "trunc_receiver_firing_single",
        "trunc_receiver_resolved",
        "truncated_max_alerts2_firing",
        "truncated_partial_resolved",
    ],
)
def test_every_golden_payload_is_kept_whole(ingest: Api, golden: Golden, name: str) -> None:
    sent = json.loads(golden(name))["alerts"]
    answer = ingest.post("/alert", golden(name))
    assert (answer.status_code, answer.json()["alerts"]) == (200, len(sent))
    kept = set(Episode.objects.values_list("fingerprint", flat=True))
    assert kept == {alert["fingerprint"] for alert in sent}


def test_a_redelivered_alert_changes_nothing(ingest: Api, golden: Golden) -> None:
    first = ingest.post("/alert", golden("firing_single")).json()
    again = ingest.post("/alert", golden("firing_single")).json()
    assert first["incidents"] == again["incidents"]
    assert (Incident.objects.count(), Episode.objects.count(), Delivery.objects.count()) == (1, 1, 2)


def test_good_alerts_of_a_mixed_batch_are_kept_and_the_bad_one_says_why(
    ingest: Api, caplog: pytest.LogCaptureFixture
) -> None:
    bad = an_alert(startsAt="yesterday", fingerprint="bad")
    answer = ingest.post("/alert", a_webhook(an_alert(), bad, "no alert", an_alert(fingerprint="beef")))
    assert answer.status_code == 200
    assert (answer.json()["alerts"], answer.json()["quarantined"]) == (2, 2)
    quarantined = Delivery.objects.get().quarantined
    assert [each["index"] for each in quarantined] == [1, 2]
    assert "startsAt" in quarantined[0]["reason"]
    assert "2 alerts of a delivery from alertmanager are quarantined: alerts[1].startsAt" in caplog.text


def test_the_log_says_why_a_delivery_is_refused(ingest: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Alertmanager drops it on a 400 and logs the code alone."""
    assert ingest.post("/alert", {}).status_code == 400
    assert "a delivery from alertmanager is refused: alerts: is missing" in caplog.text


def test_unknown_fields_and_versions_are_fine(ingest: Api) -> None:
    """Grafana sends more, and other, keys."""
    grafana = an_alert(values={"A": 1}, silenceURL="http://grafana/x", dashboardURL="", imageURL=None)
    payload = a_webhook(grafana, version="1", orgId=1, title="[FIRING]", state="alerting", truncatedAlerts=0)
    assert ingest.post("/alert", payload).json()["alerts"] == 1


def test_a_delivery_without_alerts_is_no_error(ingest: Api) -> None:
    assert ingest.post("/alert", {"alerts": []}).json() == {
        "status": "accepted",
        "alerts": 0,
        "quarantined": 0,
        "incidents": [],
    }


def test_the_source_is_the_tokens(db: None) -> None:
    _token, secret = create_token(name="second", role="ingest", source="am-nas")
    Api(Client(), secret).post("/alert", a_webhook())
    assert Episode.objects.get().source == "am-nas"


DEEP = 100_000
BAD: dict[str, tuple[Any, str]] = {
    "empty": (b"", "body"),
    "no JSON": (b"{nope", "body"),
    "no UTF-8": (b'{"alerts": ["\xff\xfe\xfa"]}', "body"),
    "a list": (b"[]", "body"),
    "a string": (b'"alerts"', "body"),
    "null": (b"null", "body"),
    "deep lists": (b"[" * DEEP, "body"),
    "deep objects": (b'{"a":' * DEEP, "body"),
    "deep and closed": (b'{"alerts":' + b"[" * DEEP + b"]" * DEEP + b"}", "body"),
    "a number too long": (b'{"alerts": [], "n": ' + b"9" * 5000 + b"}", "body"),
    "without alerts": ({"status": "firing"}, "alerts"),
    "alerts null": ({"alerts": None}, "alerts"),
    "alerts a string": ({"alerts": "x"}, "alerts"),
    "alerts an object": ({"alerts": {}}, "alerts"),
    "NaN": (b'{"alerts": [], "x": NaN}', "body"),
    "Infinity": (b'{"alerts": [], "x": [-Infinity]}', "body"),
    "an alert null": (a_webhook(None), "alerts[0]"),
    "labels a list": (a_webhook(an_alert(labels=[])), "alerts[0].labels"),
    "a label a number": (a_webhook(an_alert(labels={"a": 1})), "alerts[0].labels"),
    "a label NUL": (a_webhook(an_alert(labels={"a": "x\x00y"})), "alerts[0].labels"),
    "a label's name NUL": (a_webhook(an_alert(labels={"a\x00": "x"})), "alerts[0].labels"),
    "an annotation with half a character": (
        a_webhook(an_alert(annotations={"summary": "\ud800"})),
        "alerts[0].annotations",
    ),
    "status unknown": (a_webhook(an_alert(status="broken")), "alerts[0].status"),
    "status missing": (a_webhook(an_alert(status=None)), "alerts[0].status"),
    "status a deep list": (b'{"alerts":[{"status":' + b"[" * 700 + b"]" * 700 + b"}]}", "alerts[0].status"),
    "startsAt missing": (a_webhook(an_alert(startsAt=None)), "alerts[0].startsAt"),
    "startsAt without a zone": (a_webhook(an_alert(startsAt="2026-11-23T04:00:00")), "alerts[0].startsAt"),
    "startsAt no day": (a_webhook(an_alert(startsAt="2026-02-31T04:00:00Z")), "alerts[0].startsAt"),
    "startsAt at the end of time": (
        a_webhook(an_alert(startsAt="9999-12-31T23:59:59Z")),
        "alerts[0].startsAt",
    ),
    "startsAt a number": (a_webhook(an_alert(startsAt=1)), "alerts[0].startsAt"),
    "resolved without an end": (a_webhook(an_alert(status="resolved")), "alerts[0].endsAt"),
    "fingerprint a number": (a_webhook(an_alert(fingerprint=7)), "alerts[0].fingerprint"),
    "fingerprint too long": (a_webhook(an_alert(fingerprint="f" * 65)), "alerts[0].fingerprint"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_a_400_that_names_the_field(ingest: Api, name: str) -> None:
    payload, field = BAD[name]
    answer = ingest.post("/alert", payload)
    assert answer.status_code == 400
    assert answer.json()["status"] == "error"
    assert answer.json()["detail"].startswith(field)
    assert Delivery.objects.count() == 0


@pytest.mark.parametrize("key", [5, None, True, ["a"], {"a": "b"}, "a\x00b", "\ud800"])
def test_a_group_key_that_cannot_be_read_costs_no_alert(
    ingest: Api, key: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ingest.post("/alert", a_webhook(groupKey=key))
    assert (answer.status_code, answer.json()["alerts"], answer.json()["quarantined"]) == (200, 1, 0)
    assert Incident.objects.count() == 1
    assert "taken without their group: groupKey: " in caplog.text


def test_40_megabytes_are_a_413(ingest: Api) -> None:
    assert ingest.post("/alert", b" " * 40_000_000).status_code == 413
    assert Delivery.objects.count() == 0


def test_the_cap_is_inclusive(ingest: Api, settings: Any) -> None:
    body = json.dumps(a_webhook()).encode()
    settings.MAX_BODY_BYTES = len(body)
    assert ingest.post("/alert", body).status_code == 200
    assert ingest.post("/alert", body + b" ").status_code == 413


def test_a_declared_length_over_the_cap_is_refused_unread(ingest: Api, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 100
    answer = ingest.client.generic(
        "POST", "/alert", b"", "application/json", headers=ingest.headers, CONTENT_LENGTH="101"
    )
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["-1", "many", "1.5", "9" * 30, "²"])
def test_a_length_that_is_none_is_the_senders_mistake(length: str) -> None:
    with pytest.raises(ParseError, match="Content-Length"):
        declared_length({"CONTENT_LENGTH": length})


class Request:
    """As much of a request as `read_body` looks at."""

    def __init__(self, body: bytes, **meta: Any) -> None:
        self.META = {"wsgi.input": io.BytesIO(body), **meta}

    def read(self, size: int) -> bytes:
        return b""  # Django takes a body without a length for an empty one


def test_a_chunked_body_is_read_though_it_declares_no_length(settings: Any) -> None:
    request: Any = Request(b"x" * 10, **{"wsgi.input_terminated": True})
    assert read_body(request) == b"x" * 10
    assert read_body(request) == b""


def test_a_chunked_body_has_the_same_cap(ingest: Api, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 10
    with pytest.raises(Exception, match="larger than 10 bytes"):
        read_body(Request(b"x" * 11, **{"wsgi.input_terminated": True}))  # type: ignore[arg-type]


def test_a_missing_or_wrong_token_is_a_401_that_says_how(api: Any) -> None:
    for client in (api(None), Api(Client(), "hl_wrong"), Api(Client(), "two words")):
        answer = client.post("/alert", a_webhook())
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"].startswith("Bearer")
    assert Delivery.objects.count() == 0


def test_a_session_is_no_token(person: Callable[..., Client]) -> None:
    answer = person(superuser=True).post("/alert", a_webhook(), content_type="application/json")
    assert answer.status_code == 401


def test_only_post_is_answered(ingest: Api, api: Any) -> None:
    for client in (ingest, api(None)):
        answer = client.get("/alert")
        assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_a_database_that_does_not_store_is_a_503_to_be_sent_again(
    ingest: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alertmanager sends 5xx again, and gives up on 4xx."""

    def away(**_: Any) -> None:
        raise OperationalError("the disk is full")

    monkeypatch.setattr(intake, "receive", away)
    answer = ingest.post("/alert", a_webhook())
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert "disk" not in answer.json()["detail"]


def test_the_content_type_does_not_matter(ingest: Api) -> None:
    answer = ingest.client.post(
        "/alert", json.dumps(a_webhook()), content_type="text/plain", headers=ingest.headers
    )
    assert answer.status_code == 200
