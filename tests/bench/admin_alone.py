"""The admin's part of the benchmark, in a process of its own: a year of incidents in the database."""

from __future__ import annotations

import sys
from datetime import timedelta

import django

django.setup()

from django.core.management import call_command  # noqa: E402 what follows needs Django to be ready
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from agents.models import CrewRun, ModelCall, Step  # noqa: E402
from incidents.models import Episode, Event, Incident, Target  # noqa: E402
from tests.bench.scrape_alone import closed_incident, copy  # noqa: E402

TARGETS = 300
OPEN = 20
AGE = timedelta(days=365)
# Of a hundred: most are warnings that proved fixed, few relapse; one alert stopped long ago, one is rare.
FIELDS = {
    "severity_class": "CASE WHEN n % 1000 = 0 THEN 'other' WHEN n % 10 < 2 THEN 'critical' "
    "WHEN n % 10 < 9 THEN 'warning' ELSE 'info' END",
    "verdict": "CASE WHEN n % 5000 = 0 THEN 'relapsed' WHEN n % 10 < 6 THEN 'verified' "
    "WHEN n % 10 < 9 THEN 'cleared_before_action' ELSE 'unknown' END",
    "alert_name": "CASE WHEN n < 100000 AND n % 2 = 0 THEN 'LongGone' WHEN n % 50000 = 0 THEN 'Rare' "
    "ELSE 'Alert' || n % 200 END",
    "source": "CASE WHEN n % 20000 = 0 THEN 'health-check' WHEN n % 3 = 0 THEN 'nas' ELSE 'alertmanager' END",
    "root_cause": "'the disk of machine ' || n % 977 || ' is full: 0 bytes free, so nothing can be written'",
}


def main(size: int) -> None:
    call_command("migrate", verbosity=0)
    now = timezone.now()
    targets = [
        Target(key=f"docker:host{n % 20}/service{n}", kind="docker", host=f"host{n % 20}", name=f"service{n}")
        for n in range(TARGETS)
    ]
    Target.objects.bulk_create(targets)
    first = closed_incident(now - AGE)
    since = f"TIMESTAMPTZ '{(now - AGE).isoformat()}' + n * INTERVAL '{AGE.total_seconds() / size} seconds'"
    times = dict.fromkeys(("started_at", "opened_at", "closed_at"), since)
    target = f"{targets[0].pk} + n % {TARGETS}"
    copy(first, f"generate_series(2, {size}) n", {**FIELDS, **times, "target_id": target})
    _what_belongs_to_each(first)
    _open_some(size)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _what_belongs_to_each(first: Incident) -> None:
    """An alert, an event, a run with a turn, and for each third a call of a model."""
    at = first.opened_at
    Event.objects.create(incident=first, kind="opened", actor="alertmanager", text="opened", at=at)
    Episode.objects.create(
        incident=first,
        source="alertmanager",
        fingerprint="f0",
        alert_name="Alert",
        labels={"instance": "nas:9100"},
        starts_at=at,
        ends_at=at,
    )
    run = CrewRun.objects.create(incident=first, started_at=at, finished_at=at)
    step = Step.objects.create(run=run, agent="analyst", rung="model", state="done", output={"cause": "full"})
    ModelCall.objects.create(
        step=step,
        model="gpt-4o-mini",
        endpoint="http://model",
        request={},
        input_tokens=900,
        output_tokens=90,
        cost_usd="0.0003",
        seconds=1.5,
        started_at=at,
    )
    others = "incidents_incident other WHERE other.id > " + str(first.pk)
    for model, more in (
        (Event, {"at": "other.opened_at"}),
        (Episode, {"fingerprint": "'f' || other.id"}),
        (CrewRun, {}),
    ):
        row = model.objects.first()
        assert row is not None
        copy(row, others, {"incident_id": "other.id", **more})
    copy(step, f"agents_crewrun other WHERE other.id > {run.pk}", {"run_id": "other.id"})
    call = ModelCall.objects.get()
    copy(call, f"agents_step other WHERE other.id > {step.pk} AND other.id % 3 = 0", {"step_id": "other.id"})


def _open_some(size: int) -> None:
    newest = Incident.objects.filter(pk__gt=Incident.objects.newest_first()[OPEN].pk)
    newest.update(status="investigating", verdict=None, closed_at=None, resolution_seconds=None)
    assert Incident.objects.count() == size


if __name__ == "__main__":
    main(int(sys.argv[1]))
