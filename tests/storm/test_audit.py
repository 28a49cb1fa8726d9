"""The audit finds what is broken: a storm that could not fail would prove nothing."""

from __future__ import annotations

import time
from hashlib import sha256

import pytest
from django.db import connection
from django.utils import timezone

from agents.models import Action, Step
from incidents import intake, services
from incidents.alertmanager import parse_webhook
from incidents.models import Episode, Incident, MemoryEntry, Notification, Verdict
from tests.agents.rows import an_action
from tests.incidents.rows import a_target, an_incident

from .audit import Audit, audit
from .engine import Call, Engine
from .outages import Alert, Outage
from .records import Records
from .sender import Acked, Ledger, payload

pytestmark = pytest.mark.django_db
ENGINE = Engine("nas", ["shop"], calls=[])
SHOP = ENGINE.containers["shop"]


@pytest.fixture
def outage() -> Outage:
    """A container that ended a while ago and still is down."""
    SHOP.running = False
    return Outage(ENGINE, "shop", time.time() - 60, blip=False)


def look(ledger: Ledger, outage: Outage, calls: list[Call] | None = None) -> Audit:
    connection.ensure_connection()
    return audit(Records(lambda: connection.connection), ledger, [outage], calls or [])


def deliver(ledger: Ledger, outage: Outage, alerts: list[Alert] | None = None, *, store: bool = True) -> None:
    """A delivery that gets a 200; unless `store`, from a server that then forgets it."""
    told = tuple(alerts or outage.alerts())
    body = payload(outage, told)
    if store:
        intake.receive(source="alertmanager", body=body, webhook=parse_webhook(body))
    now = time.time()
    ledger.acked.append(Acked(sha256(body).hexdigest(), told, now, now))


def close_all() -> None:
    Notification.objects.update(state="done")
    for incident in Incident.objects.unresolved():
        services.close(incident, Verdict.VERIFIED, actor="crew", note="clear")
    MemoryEntry.objects.update(state="done")


def restart_call(at: float) -> Call:
    return Call("nas", "POST", f"/containers/{SHOP.id}/restart", at, 204, at)


def an_executed_action(**fields: object) -> Action:
    target = a_target("shop", "nas")
    target.facts = {"id": SHOP.id}
    target.save()
    incident = an_incident(Verdict.VERIFIED, target=target)
    return an_action(incident, target, status="done", executing_at=timezone.now(), **fields)


def test_a_storm_that_kept_its_promises_has_nothing_broken(outage: Outage) -> None:
    ledger = Ledger()
    deliver(ledger, outage)
    SHOP.running, SHOP.started_at = True, time.time() - 5
    deliver(ledger, outage)
    close_all()
    found = look(ledger, outage)
    assert {what: lines for what, lines in found.broken.items() if lines} == {}
    assert (found.incidents, found.verdicts["verified"]) == (1, 1)


def test_a_delivery_that_was_acknowledged_and_not_kept_is_missed(outage: Outage) -> None:
    ledger = Ledger()
    deliver(ledger, outage, store=False)
    assert [line.split(": ")[1] for line in look(ledger, outage).broken["acked and missing"]] == [
        "acknowledged 1 times, stored 0 times",
        "0 episodes",
        "0 episodes",
    ]


def test_an_end_that_was_told_and_not_kept_is_missed(outage: Outage) -> None:
    ledger = Ledger()
    deliver(ledger, outage)
    SHOP.running, SHOP.started_at = True, time.time() - 5
    deliver(ledger, outage)
    Episode.objects.filter(alert_name="ContainerDown").update(ends_at=None)
    assert look(ledger, outage).broken["acked and missing"] == ["ContainerDown of shop: its end is missing"]


def test_two_incidents_of_one_outage_are_one_too_many(outage: Outage) -> None:
    ledger = Ledger()
    deliver(ledger, outage)
    first, second = Incident.objects.get(), an_incident()
    Episode.objects.filter(alert_name="ContainerSilent").update(incident=second)
    assert look(ledger, outage).broken["duplicate incidents"] == [
        f"shop: incidents [{first.pk}, {second.pk}]"
    ]


def test_a_second_execution_and_one_without_an_action_are_found(outage: Outage) -> None:
    action = an_executed_action()
    now = action.executing_at.timestamp()
    calls = [restart_call(now - 9), restart_call(now + 1), restart_call(now + 2)]
    assert look(Ledger(), outage, calls).broken["executions above one an action"] == [
        f"nas {SHOP.id[:12]}: restarted without an action",
        f"action {action.pk}: carried out 2 times",
    ]


def test_an_action_that_is_called_done_and_reached_no_engine_is_found(outage: Outage) -> None:
    action = an_executed_action()
    assert look(Ledger(), outage).broken["claimed and not done"] == [
        f"action {action.pk} is done, and no engine was asked for it"
    ]


def test_what_is_not_at_its_end_is_left_undone(outage: Outage) -> None:
    deliver(Ledger(), outage)
    step = an_executed_action().step
    Step.objects.filter(pk=step.pk).update(state="dead", error="given up")
    broken = look(Ledger(), outage).broken["left undone"]
    assert "1 incidents without a verdict" in broken
    assert f"agents_step {step.pk} is dead: given up" in broken
