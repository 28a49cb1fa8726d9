"""`POST /alert` under hostile bodies: never a 5xx, never slow, and not one readable alert is lost."""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings

from incidents.alertmanager import Alert, PayloadError, parse_alert
from incidents.models import Delivery, Episode
from tests.conftest import Api
from tests.fuzz import FULL
from tests.fuzz.hostile import bodies
from tests.fuzz.tally import Tally

REQUESTS = 4000 if FULL else 200


def readable(body: bytes) -> list[Alert] | None:
    """The alerts of a body that is a webhook, judged one by one; None when there is nothing to keep."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return None
    items = payload.get("alerts") if isinstance(payload, dict) else None
    if not isinstance(items, list) or not storable(payload.get("groupKey", "")):
        return None
    kept = []
    for item in items:
        try:
            kept.append(parse_alert(item))
        except PayloadError:
            continue
    return kept if kept or not items else None


def storable(text: Any) -> bool:
    return isinstance(text, str) and "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


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
    if alerts is None:
        return None if answer.status_code == 400 else "took what cannot be read"
    if answer.status_code != 200:
        return f"refused {len(alerts)} readable alerts"
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

    @settings(
        max_examples=REQUESTS,
        deadline=None,
        database=None,
        derandomize=not FULL,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies())
    def send(body: bytes) -> None:
        label = f"POST /alert {body[:2000]!r}"
        with transaction.atomic():
            with tally.timed(label):
                answer = ingest.post("/alert", body)
            tally.answered(answer.status_code, label)
            tally.handled += 1
            wrong = check(answer, body)
            transaction.set_rollback(True)  # every body meets an empty database
        assert wrong is None, wrong

    send()
    print(f"\n/alert: {tally}")
    assert tally.failures == []
    assert tally.requests >= REQUESTS
