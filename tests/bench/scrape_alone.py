"""The scrape's part of the benchmark, in a process of its own: fills the database, and collects."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import UTC, datetime
from typing import Any

import django

django.setup()

from django.apps import apps  # noqa: E402 what follows needs Django to be ready
from django.core.management import call_command  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from prometheus_client import CollectorRegistry, generate_latest  # noqa: E402

from agents.models import CrewRun, Step  # noqa: E402
from incidents.models import Incident, MemoryEntry, Notification, Tally, TallyChange  # noqa: E402
from metrics.collectors import COLLECTORS  # noqa: E402
from tests.bench.scrape import percentiles  # noqa: E402

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SEVERITY = "(ARRAY['critical','warning','info','other'])[1 + n % 4]"
VERDICT = "(ARRAY['verified','cleared_before_action','not_fixed','unknown','false_alarm'])[1 + n % 5]"
NAME = "'Alert' || n % 200"


def main(size: int, times: int) -> None:
    call_command("migrate", verbosity=0)
    fill(size)
    registry = CollectorRegistry()
    for collector in COLLECTORS:
        registry.register(collector())
    with CaptureQueriesContext(connection) as asked:
        text = generate_latest(registry).decode()
    series = [line for line in text.splitlines() if not line.startswith("#")]
    found = percentiles(lambda: generate_latest(registry), times)
    print(json.dumps({**found, "queries": len(asked), "series": len(series)}))


def fill(size: int) -> None:
    """So many closed incidents, each with a message, a run with a step, and an entry of the memory."""
    have = Incident.objects.count()
    if have >= size:
        return
    first = Incident.objects.first() or _template()
    more = {"severity_class": SEVERITY, "verdict": VERDICT, "alert_name": NAME}
    copy(first, f"generate_series({have + 1}, {size}) n", more)
    others = "incidents_incident other WHERE NOT EXISTS (SELECT FROM {} had WHERE had.incident_id = other.id)"
    for model, extra in (
        (MemoryEntry, {"key": "'incident:' || other.id", "title": "other.alert_name"}),
        (Notification, {"dedup_key": "'n' || other.id"}),
        (CrewRun, {}),
    ):
        row = model.objects.first()
        assert row is not None
        copy(row, others.format(model._meta.db_table), {"incident_id": "other.id", **extra})
    step = Step.objects.first()
    assert step is not None
    runs = "agents_crewrun other WHERE NOT EXISTS (SELECT FROM agents_step had WHERE had.run_id = other.id)"
    copy(step, runs, {"run_id": "other.id"})
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    _count()


def closed_incident(at: datetime) -> Incident:
    """What the others are copies of."""
    return Incident.objects.create(
        status="closed",
        verdict="verified",
        source="alertmanager",
        alert_name="Alert",
        description="an incident of the benchmark",
        severity="warning",
        severity_class="warning",
        started_at=at,
        opened_at=at,
        closed_at=at,
        resolution_seconds=60.0,
    )


def _template() -> Incident:
    incident = closed_incident(BEGAN)
    MemoryEntry.objects.create(incident=incident, title="Alert", text="text", content_hash="h", state="done")
    Notification.objects.create(
        incident=incident, kind="ended", dedup_key="n", channel="chat", title="t", body="b", state="done"
    )
    run = CrewRun.objects.create(incident=incident, finished_at=BEGAN)
    Step.objects.create(run=run, agent=Step.Agent.MONITOR, state="done", finished_at=BEGAN)
    return incident


def copy(row: models.Model, source: str, other: dict[str, str]) -> None:
    """Rows like one, with some columns otherwise, for each row of `source`."""
    table = row._meta.db_table
    columns = [str(field.column) for field in row._meta.concrete_fields if not field.primary_key]
    values = ", ".join(other.get(column, f"template.{column}") for column in columns)
    one = f"(SELECT * FROM {table} WHERE id = {row.pk}) template"
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {one}, {source}")


def _count() -> None:
    """As the migration does it that introduced the totals."""
    count: Any = importlib.import_module("incidents.migrations.0010_tally").count
    with transaction.atomic():
        Tally.objects.all().delete()
        TallyChange.objects.all().delete()
        with connection.schema_editor() as editor:
            count(apps, editor)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
