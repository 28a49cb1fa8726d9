"""The points of an incident's plot, kept for when Prometheus has forgotten them."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0011_postmortem"),
        ("incidents", "0011_people"),
    ]

    operations = [
        migrations.CreateModel(
            name="Chart",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("dead", "Dead"),
                        ],
                        default="waiting",
                        editable=False,
                        max_length=8,
                    ),
                ),
                ("due_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("hinted_at", models.DateTimeField(editable=False, null=True)),
                ("lease_until", models.DateTimeField(editable=False, null=True)),
                ("fence", models.PositiveIntegerField(default=0, editable=False)),
                (
                    "attempts",
                    models.PositiveIntegerField(
                        default=0, editable=False, help_text="Failures since it last went well"
                    ),
                ),
                (
                    "lost_leases",
                    models.PositiveIntegerField(
                        default=0,
                        editable=False,
                        help_text="Workers in a row that were killed at it, or hung",
                    ),
                ),
                ("error", models.TextField(blank=True, default="", editable=False)),
                (
                    "points",
                    models.JSONField(
                        help_text="Empty: not read yet, or `error` says why there are none", null=True
                    ),
                ),
                ("read_at", models.DateTimeField(null=True)),
                (
                    "incident",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="chart",
                        to="incidents.incident",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ("waiting", "running"))),
                        fields=["due_at"],
                        name="due_charts",
                    ),
                    models.Index(condition=models.Q(("state", "dead")), fields=["state"], name="dead_charts"),
                ],
            },
        ),
    ]
