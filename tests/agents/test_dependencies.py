"""What the program stands on, as it was last found: nothing is asked, and silence is not called health."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from agents import dependencies
from agents.dependencies import Dependency
from agents.models import Breaker, ModelCall, Step
from agents.reasoners import breaker, rungs
from incidents import liveness, memory, turns
from incidents.models import Job, MemoryEntry, Notification, Turn
from tests.agents.rows import a_run
from tests.incidents.rows import an_incident

pytestmark = pytest.mark.django_db


def found(name: str) -> Dependency:
    return next(each for each in dependencies.all_of_them() if each.name == name)


def checked(at: datetime | None = None, **result: Any) -> datetime:
    at = at or timezone.now()
    Job.objects.create(
        name="health_check", last_finished_at=at, result={"findings": {}, "errors": {}, **result}
    )
    return at


@pytest.mark.parametrize("name", ["Alertmanager", "Prometheus", "Docker", "Model", "Messages", "Heartbeat"])
def test_what_is_not_set_up_is_said_to_be_so(name: str) -> None:
    assert found(name).state == "off"


@pytest.fixture
def prometheus(settings: Settings) -> None:
    settings.PROMETHEUS_URL = "http://me:secret@prom.lan:9090/path"


@pytest.mark.usefixtures("prometheus")
def test_a_check_says_how_it_was_and_when() -> None:
    assert found("Prometheus") == Dependency(
        "Prometheus", "unknown", "http://prom.lan:9090: not looked at yet"
    )
    at = checked(findings={"prometheus": 0})
    assert found("Prometheus") == Dependency("Prometheus", "ok", "http://prom.lan:9090", at)


@pytest.mark.usefixtures("prometheus")
def test_a_check_that_failed_says_why() -> None:
    at = checked(errors={"prometheus": "no answer in 10 s"})
    assert found("Prometheus") == Dependency("Prometheus", "failing", "no answer in 10 s", at)


@pytest.mark.usefixtures("prometheus")
@pytest.mark.parametrize("result", [{"findings": {"prometheus": 0}}, {"errors": {"prometheus": "away"}}])
def test_an_old_check_says_nothing_of_today(result: dict[str, Any]) -> None:
    checked(timezone.now() - timedelta(hours=3), **result)
    assert found("Prometheus").state == "unknown"


@pytest.mark.usefixtures("prometheus")
def test_what_was_set_up_after_the_last_check_is_unknown() -> None:
    checked(findings={"docker": 0})
    assert found("Prometheus").state == "unknown"


def test_alertmanager_is_as_its_last_poll(settings: Settings) -> None:
    settings.ALERTMANAGER_URL = "http://am.lan:9093"
    assert found("Alertmanager").state == "unknown"
    now = timezone.now()
    job = Job.objects.create(name="reconcile", last_finished_at=now, result={"polls": [now.isoformat()]})
    assert found("Alertmanager") == Dependency("Alertmanager", "ok", "http://am.lan:9093", now)
    Job.objects.filter(pk=job.pk).update(result={"polls": [now.isoformat()], "error": "refused"})
    assert (found("Alertmanager").state, found("Alertmanager").detail) == ("failing", "refused")
    old = now - timedelta(hours=1)
    Job.objects.filter(pk=job.pk).update(result={"polls": [old.isoformat()]})
    assert found("Alertmanager").state == "unknown"
    away = {"polls": [old.isoformat()], "error": "refused"}
    Job.objects.filter(pk=job.pk).update(result=away)
    assert found("Alertmanager").state == "failing"  # asked today, in vain
    Job.objects.filter(pk=job.pk).update(last_finished_at=old)
    assert found("Alertmanager").state == "unknown"  # asked by nobody since


@pytest.fixture
def model(settings: Settings) -> rungs.Rung:
    settings.OPENAI_BASE_URL = "http://key:secret@model.lan/v1"
    settings.OPENAI_MODEL = "m"
    return rungs.configured()[0]


def call(of: rungs.Rung, **fields: Any) -> ModelCall:
    step = Step.objects.first() or a_run(an_incident()).steps.first()
    given = {"seconds": 1.0, "error": "", **fields}
    return ModelCall.objects.create(step=step, model=of.model, endpoint=of.endpoint, request={}, **given)


def test_a_model_is_as_its_last_call_and_its_breaker(model: rungs.Rung) -> None:
    assert found("Model").state == "unknown"
    made = call(model)
    call(model, seconds=None)  # under way
    assert found("Model") == Dependency("Model", "ok", "m at http://model.lan", made.started_at)
    call(model, error="500")
    assert found("Model").state == "failing"
    breaker.failed(model, "no answer", pause=60)
    assert "no answer" in found("Model").detail
    Breaker.objects.all().delete()
    call(model)
    assert found("Model").state == "ok"


def test_what_failed_long_ago_says_nothing_of_today(model: rungs.Rung) -> None:
    call(model, error="500", started_at=timezone.now() - timedelta(days=3))
    breaker.failed(model, "no answer", pause=None)
    assert found("Model").state == "unknown"
    call(model, error="500")
    assert (found("Model").state, found("Model").detail) == ("failing", "m at http://model.lan: no answer")


def test_a_channel_is_as_its_messages(settings: Settings) -> None:
    settings.NOTIFY_URLS = ["json://secret-host/", "ntfy://topic"]
    assert found("json-1").state == "unknown"
    now = timezone.now()

    def message(channel: str, **fields: Any) -> None:
        key = str(Notification.objects.count())
        Notification.objects.create(
            kind="update", dedup_key=key, channel=channel, title="t", body="b", **fields
        )

    message("json-1", sent_at=now, state="done")
    message("ntfy-2", attempts=2, error="the channel did not take the message")
    assert found("json-1") == Dependency("json-1", "ok", "took the last message", now)
    assert found("ntfy-2").state == "failing"


def test_a_memory_server_is_not_asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.QDRANT_URL = "http://qdrant.lan:6333"
    monkeypatch.setattr(memory, "status", lambda: pytest.fail("it was asked"))
    assert found("Memory").state == "unknown"
    now = timezone.now()
    entry = MemoryEntry.objects.create(
        incident=an_incident(), title="t", text="t", content_hash="h", state="done", synced_at=now
    )
    assert found("Memory") == Dependency("Memory", "ok", "http://qdrant.lan:6333", now)
    MemoryEntry.objects.update(synced_at=now - timedelta(days=3))
    assert found("Memory").state == "unknown"
    MemoryEntry.objects.filter(pk=entry.pk).update(state="waiting", attempts=3, error="no answer")
    assert (found("Memory").state, found("Memory").detail) == (
        "failing",
        "http://qdrant.lan:6333: no answer",
    )


def test_the_workers_are_known_by_their_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("Worker").state == "unknown"
    until = timezone.now() + timedelta(seconds=turns.HEARTBEAT_SECONDS)
    Turn.objects.create(name=f"{turns.HEARTBEAT}worker", until=until)
    assert found("Worker").state == "ok"
    Turn.objects.update(until=until - timedelta(minutes=10))
    assert found("Worker").state == "failing"
    monkeypatch.setitem(liveness._CHECKS, "beat", lambda: False)
    assert found("Beat").detail == "not running"


def test_the_listener_outside(settings: Settings) -> None:
    settings.HEARTBEAT_URL = "https://hc.example.org/secret"
    assert found("Heartbeat").state == "unknown"
    job = Job.objects.create(
        name="audit", last_finished_at=timezone.now(), result={"stuck": {}, "heartbeat": "ok"}
    )
    assert found("Heartbeat").state == "ok"
    Job.objects.filter(pk=job.pk).update(result={"stuck": {"step": "1 dead"}, "heartbeat": None})
    assert (found("Heartbeat").state, found("Heartbeat").detail) == (
        "failing",
        "withheld, work is stuck: step",
    )
    ago = timezone.now() - timedelta(hours=1)
    Job.objects.filter(pk=job.pk).update(result={"stuck": {}, "heartbeat": "ok"}, last_finished_at=ago)
    assert found("Heartbeat") == Dependency("Heartbeat", "failing", "not given since", ago)


def test_it_costs_the_same_for_any_number(settings: Settings, model: rungs.Rung) -> None:
    settings.NOTIFY_URLS = ["json://one/"]

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            dependencies.all_of_them()
        return len(seen)

    call(model)
    few = queries()
    for _ in range(20):
        call(model)
        Notification.objects.create(
            kind="update", dedup_key=str(Notification.objects.count()), channel="json-1", title="t", body="b"
        )
    assert queries() == few
