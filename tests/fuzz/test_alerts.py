"""`POST /alert` under hostile bodies: never a 5xx, never slow, and not one readable alert is lost."""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction

from incidents.alertmanager import Alert, PayloadError, parse_alert, refuse_constant
from incidents.models import Delivery, Episode
from tests.conftest import Api
from tests.fuzz import FULL
from tests.fuzz.hostile import BODIES, KNOWN, bodies
from tests.fuzz.tally import Tally, generated
from tests.incidents.rows import a_target

REQUESTS = 4000 if FULL else 200


def readable(body: bytes) -> list[Alert] | None:
    """The alerts of a body that is a webhook, judged one by one; None when there is nothing to keep."""
    try:
        payload = json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return None
    items = payload.get("alerts") if isinstance(payload, dict) else None
    if not isinstance(items, list):
        return None
    kept = []
    for item in items:
        try:
            kept.append(parse_alert(item))
        except PayloadError:
            continue
    return kept if kept or not items else None


def kept_alike(alert: Alert) -> bool:
    """An alert that was sent once is in the database as it was sent."""
    episode = Episode.objects.get(fingerprint=alert.fingerprint)
    return (episode.labels, episode.annotations, episode.starts_at, episode.ends_at) == (
        alert.labels,
        alert.annotations,
        alert.starts_at,
        alert.ends_at,
    )


def check(answer: Any, body: bytes) -> str | None:
    """What is wrong with an answer, or None."""
    alerts = readable(body)
    if answer.status_code != (200 if alerts is not None else 400):
        return f"answered {answer.status_code} to {alerts}"
    if alerts is None:
        return None
    if answer.json()["alerts"] != len(alerts) or bytes(Delivery.objects.get().body) != body:
        return "is not what was sent"
    fingerprints = [alert.fingerprint for alert in alerts]
    if set(Episode.objects.values_list("fingerprint", flat=True)) != set(fingerprints):
        return "lost an alert"
    once = [alert for alert in alerts if fingerprints.count(alert.fingerprint) == 1]
    return None if all(map(kept_alike, once)) else "changed an alert"


def test_hostile_webhooks(ingest: Api) -> None:
    tally = Tally()
    ingest.client.raise_request_exception = False
    a_target(KNOWN)

    def send(body: bytes) -> None:
        label = f"POST /alert {body[:2000]!r}"
        with transaction.atomic():
            with tally.timed(label):
                answer = ingest.post("/alert", body)
            tally.answered(answer.status_code, label)
            tally.handled += answer.status_code not in (401, 403)
            tally.mixed += answer.status_code == 200 and answer.json()["quarantined"] > 0
            wrong = check(answer, body)
            transaction.set_rollback(True)  # every body meets an empty database
        assert wrong is None, wrong

    for body in BODIES:
        send(body)
    generated(REQUESTS - len(BODIES), bodies())(send)()
    print(f"\n/alert: {tally}; {tally.mixed} kept in part")
    assert tally.failures == []
    assert tally.requests >= REQUESTS
    assert tally.handled == tally.requests
    assert tally.mixed > REQUESTS / 20
