"""Totals that are kept as they change, beginning with what is there."""

import json
from bisect import bisect_left

from django.db import migrations, models

BUCKETS = (60, 300, 900, 3600, 14400, 86400)
PROVED = ("verified", "cleared_before_action")
ENDED_UNFIXED = ("not_fixed", "relapsed")


def count(apps, schema_editor):
    """Of incidents, for the seed's gauges are over all of them; what else is counted begins now."""
    alias = schema_editor.connection.alias
    incidents = apps.get_model("incidents", "Incident").objects.using(alias)
    found = {}

    def add(amount, *series):
        found[series] = found.get(series, 0) + amount

    grouped = (
        incidents.order_by().values_list("severity_class", "verdict", "source").annotate(n=models.Count("id"))
    )
    for severity, verdict, source, n in grouped:
        add(n, "incidents", severity, verdict or "in_progress", source)
        add(n, "incidents_opened", severity, source)
        if verdict:
            add(n, "incidents_closed", severity, verdict)
        if verdict in ENDED_UNFIXED:
            add(n, "incidents_escalated", severity)
    proved = incidents.filter(verdict__in=PROVED, resolution_seconds__isnull=False)
    for severity, seconds in proved.values_list("severity_class", "resolution_seconds").iterator():
        place = bisect_left(BUCKETS, seconds)
        micros = round(seconds * 1_000_000)
        add(1, "resolution", severity, "+Inf" if place == len(BUCKETS) else f"{BUCKETS[place]:g}")
        add(micros, "resolution", severity, "sum")
        add(1, "proved", "count")
        add(micros, "proved", "sum")
    reopened = incidents.filter(reopened__gt=0).order_by().values_list("severity_class")
    for severity, n in reopened.annotate(n=models.Sum("reopened")):
        add(n, "incidents_reopened", severity)
    add(
        apps.get_model("incidents", "MemoryEntry").objects.using(alias).filter(kind="incident").count(),
        "memory",
        "incident",
    )
    tally = apps.get_model("incidents", "Tally")
    tally.objects.using(alias).bulk_create(
        tally(series=json.dumps(series, separators=(",", ":")), amount=amount)
        for series, amount in found.items()
        if amount
    )


class Migration(migrations.Migration):
    dependencies = [
        ("incidents", "0009_trace"),
    ]

    operations = [
        migrations.CreateModel(
            name="Tally",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "series",
                    models.TextField(help_text="JSON: a name and the values of its labels", unique=True),
                ),
                ("amount", models.BigIntegerField(help_text="In the series' own unit, a whole number")),
            ],
            options={"verbose_name_plural": "tallies"},
        ),
        migrations.CreateModel(
            name="TallyChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("amounts", models.TextField(help_text="JSON: a list of (series, amount)")),
            ],
        ),
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(fields=["opened_at"], name="incidents_by_time"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(condition=models.Q(("state", "dead")), fields=["state"], name="dead_messages"),
        ),
        migrations.AddIndex(
            model_name="memoryentry",
            index=models.Index(condition=models.Q(("state", "dead")), fields=["state"], name="dead_memory"),
        ),
        migrations.RunPython(count, migrations.RunPython.noop, elidable=True),
    ]
