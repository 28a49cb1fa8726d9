"""`/metrics`: the expected text of a known database, what it costs, and who may read it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agents import budget, counts
from agents.models import Action, ModelCall, Step
from incidents import memory, services, tally
from incidents.models import Incident, MemoryEntry, Notification, Verdict
from incidents.queue import State
from metrics import views
from tests.agents.rows import an_action
from tests.conftest import Api
from tests.e2e.process import binary
from tests.e2e.require import require
from tests.incidents.rows import START, a_target, an_incident

pytestmark = pytest.mark.django_db
GOLDEN = Path(__file__).parent.parent / "data" / "metrics"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """The database behind tests/data/metrics/known.prom."""
    monkeypatch.setattr(memory, "status", lambda: "connected")
    settings.VERSION = "1.2.3"
    an_action()
    fixed = an_incident(Verdict.VERIFIED, seconds=137)
    an_incident(Verdict.CLEARED_BEFORE_ACTION, seconds=63, severity="page")
    an_incident(Verdict.NOT_FIXED, severity="warning")
    an_incident(Verdict.UNKNOWN, severity="odd")
    an_incident(Verdict.FALSE_ALARM, severity="info")
    for state in (State.WAITING, State.DEAD, State.DONE):
        Notification.objects.create(
            incident=fixed, kind="update", dedup_key=state, channel="none", title="t", body="b", state=state
        )
    Notification.objects.create(  # before its time, so nobody misses it
        incident=fixed, kind="escalation", dedup_key="escalated", channel="none", title="t", body="b"
    )
    MemoryEntry.objects.create(incident=fixed, text="t", content_hash="h", state=State.DONE)
    tally.add([tally.one("memory", "incident")])
    Incident.objects.update(opened_at=START)
    Action.objects.update(proposed_at=timezone.now() - timedelta(hours=1))


def ours(answer: Any) -> str:
    """The lines of the `ai_agents_*` metrics that come from the database."""
    assert answer.status_code == 200
    lines = answer.content.decode().splitlines(keepends=True)
    return "".join(line for line in lines if re.match(r"(# (HELP|TYPE) )?ai_agents_(?!webhook)", line))


def test_the_text_of_a_known_database(api: Callable[[str | None], Api], known: None) -> None:
    answer = api(None).get("/metrics")
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text, ages = re.subn(r"(approval_oldest_seconds) 36\d\d\..*", r"\1 3600", ours(answer))
    assert ages == 1
    text = re.sub(r"(queue_oldest_seconds\{.*\}) [0-9.e-]+", r"\1 0", text)  # these are seconds old
    assert text == (GOLDEN / "known.prom").read_text()


def test_with_nothing_closed_the_gauges_are_nan(api: Callable[[str | None], Api]) -> None:
    an_incident()
    text = ours(api(None).get("/metrics"))
    for name in ("success_rate", "fixed_by_crew_rate", "avg_resolution_seconds"):
        assert f"\nai_agents_{name} NaN\n" in text
    assert "\nai_agents_incidents_total 1.0\n" in "\n" + text


def test_a_scrape_right_after_a_commit_shows_it(api: Callable[[str | None], Api]) -> None:
    for count in (1, 2):
        an_incident()
        assert f"\nai_agents_incidents_total {count}.0\n" in ours(api(None).get("/metrics"))


def test_dead_steps_count_while_their_incident_is_open(api: Callable[[str | None], Api]) -> None:
    waiting = an_action()
    Step.objects.update(state=State.DEAD)
    dead = 'ai_agents_queue_depth{kind="step",state="dead"}'
    assert f"\n{dead} 2.0\n" in ours(api(None).get("/metrics"))
    services.close(waiting.incident, Verdict.RESOLVED_BY_HUMAN, actor="ann", note="by hand")
    assert f"\n{dead} 0.0\n" in ours(api(None).get("/metrics"))


def test_what_was_spent_is_what_is_known_and_the_most_of_what_is_not(
    api: Callable[[str | None], Api],
) -> None:
    an_action()
    call: dict[str, Any] = {"step": Step.objects.first(), "model": "m", "endpoint": "e", "request": {}}
    known = ModelCall(**call, cost_usd=Decimal("0.25"), seconds=1)
    tally.add(counts.model_call(known, None, known.cost_usd, asked="m"))
    ModelCall.objects.create(**call, reserved_usd=Decimal("0.5"))
    long_ago = budget.midnight() - timedelta(days=40)
    ModelCall.objects.create(**call, reserved_usd=Decimal(7), started_at=long_ago)
    text = ours(api(None).get("/metrics"))
    for period in ("day", "month"):
        assert f'ai_agents_budget_spent_dollars{{period="{period}"}} 0.75\n' in text


def test_three_queries_at_most_however_many_rows(known: None) -> None:
    with CaptureQueriesContext(connection) as seen:
        generate_latest(views.registry())
    assert len(seen) <= 3
    assert not [each for each in seen if "INSERT" in each["sql"] or "UPDATE" in each["sql"]]


def test_every_series_is_there_before_it_counts_anything(api: Callable[[str | None], Api]) -> None:
    """A series that appears with its first event hides that event from increase()."""
    families = {
        family.name: family for family in text_string_to_metric_families(ours(api(None).get("/metrics")))
    }

    def labels(name: str) -> set[str]:
        return {next(iter(sample.labels.values())) for sample in families[name].samples}

    assert labels("ai_agents_incidents_by_severity") == {"critical", "warning", "info", "other"}
    assert labels("ai_agents_incidents_by_verdict") == {"in_progress", *Verdict.values}
    assert {sample.labels["verdict"] for sample in families["ai_agents_incidents_closed"].samples} == set(
        Verdict.values
    )
    assert sum(len(family.samples) for family in families.values()) < 500


def test_a_secret_in_an_alerts_name_is_not_told(api: Callable[[str | None], Api]) -> None:
    an_incident(alert_name="backup password=hunter2hunter2", target=a_target("token=hunter2hunter2"))
    text = ours(api(None).get("/metrics"))
    assert 'alert_name="backup password=[redacted]"' in text
    assert "hunter2hunter2" not in text


def test_djangos_own_metrics_are_there_too(api: Callable[[str | None], Api]) -> None:
    text = api(None).get("/metrics").content.decode()
    assert "django_http_requests_before_middlewares_total" in text
    assert "process_resident_memory_bytes" in text


def test_a_token_closes_it(api: Callable[[str | None], Api], settings: Any) -> None:
    settings.METRICS_TOKEN = "s3cret"
    client = api(None)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
        answer = client.get("/metrics", **headers)
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')
        assert b"ai_agents" not in answer.content
    assert client.get("/metrics", Authorization="Bearer s3cret").status_code == 200


def test_without_the_database_the_scrape_fails_rather_than_lies(
    api: Callable[[str | None], Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise OperationalError("no route to host")

    monkeypatch.setattr(tally, "read", away)
    assert api(None).get("/metrics").status_code == 503


def test_nobody_writes_to_it(admin: Api) -> None:
    assert admin.post("/metrics").status_code in (403, 405)


MULTIPROCESS = """
import django
django.setup()
from django_prometheus.middleware import Metrics
metric = Metrics.get_instance().requests_total
metric.inc({count})
if {count} == 2:
    from prometheus_client import CollectorRegistry, generate_latest
    from metrics import views
    views.COLLECTORS = ()
    print(generate_latest(views.registry()).decode())
"""


def test_with_several_processes_every_ones_requests_are_counted(tmp_path: Path) -> None:
    """gunicorn's workers share a directory; a scrape reaches one of them and must speak for all."""
    env = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    root = Path(__file__).parents[2]
    texts = [
        subprocess.run(
            [sys.executable, "-c", MULTIPROCESS.format(count=count)],
            env=env,
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for count in (1, 2)
    ]
    assert "django_http_requests_before_middlewares_total 3.0" in texts[1]


def test_prometheus_finds_fault_with_the_seeds_name_alone(
    api: Callable[[str | None], Api], known: None
) -> None:
    require("prometheus")  # promtool comes with it
    checked = subprocess.run(
        [binary("promtool"), "check", "metrics"],
        input=ours(api(None).get("/metrics")),
        capture_output=True,
        text=True,
        check=False,
    )
    faults = [
        line for line in checked.stderr.splitlines() + checked.stdout.splitlines() if "ai_agents" in line
    ]
    assert [line.split()[0] for line in faults] == ["ai_agents_incidents_total"], checked
