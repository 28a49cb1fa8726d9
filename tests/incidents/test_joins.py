"""Alerts that join one incident at the same moment, on a real PostgreSQL: neither overwrites the other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from django.db import connections

from incidents import intake
from incidents.alertmanager import Alert
from incidents.batch import Batch
from incidents.models import Incident
from tests.e2e.on_postgres import on_postgres, server

__all__ = ["on_postgres", "server"]
pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("on_postgres")]
GROUP = "{}:{alertname='Down'}"
WAIT = 20


def an_alert(severity: str, minute: int) -> Alert:
    labels = {"alertname": "Down", "severity": severity, "instance": severity}
    started = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
    return Alert(severity, True, labels, {}, started, None)


def join(alert: Alert) -> None:
    try:
        intake.apply_alerts(source="alertmanager", alerts=[alert], group_key=GROUP)
    finally:
        connections["default"].close()


def test_the_graver_severity_and_the_earlier_start_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read the incident before either writes, and the lesser one writes last."""
    join(an_alert("warning", 30))
    flush, both_read, first_is_stored = Batch.flush, threading.Barrier(2), threading.Event()

    def flush_in_order(batch: Batch) -> None:
        both_read.wait(WAIT)
        if threading.current_thread().name == "late":
            assert first_is_stored.wait(WAIT)
        flush(batch)

    def late() -> None:
        threading.current_thread().name = "late"
        join(an_alert("info", 45))

    monkeypatch.setattr(Batch, "flush", flush_in_order)
    with ThreadPoolExecutor(2) as pool:
        second, first = pool.submit(late), pool.submit(join, an_alert("critical", 15))
        first.result(WAIT)
        first_is_stored.set()
        second.result(WAIT)
    incident = Incident.objects.get()
    assert (incident.severity, incident.severity_class, incident.joins) == ("critical", "critical", 2)
    assert incident.started_at == an_alert("", 15).starts_at
