"""Troubles that come back: problems, and the signature by which incidents of the same trouble are found."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models
from django.db.models import Value
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce, Substr

LONGEST = 300


def sign(apps, schema_editor):
    """In one statement: a memory may hold a million."""
    entries = apps.get_model("incidents", "MemoryEntry").objects.using(schema_editor.connection.alias)
    signature = Substr(Coalesce(KT("payload__signature"), Value("")), 1, LONGEST)
    entries.filter(kind="incident").update(signature=signature)


class Migration(migrations.Migration):
    dependencies = [
        ("incidents", "0007_memory_of_more"),
    ]

    operations = [
        migrations.CreateModel(
            name="Problem",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("signature", models.CharField(max_length=300, unique=True)),
                ("title", models.CharField(help_text="The alert's name", max_length=300)),
                ("opened_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_seen_at", models.DateTimeField(help_text="When the last of its incidents ended")),
                ("reopened", models.PositiveIntegerField(default=0)),
                (
                    "proposal",
                    models.TextField(blank=True, default="", verbose_name="what may end it for good"),
                ),
                (
                    "proposal_by",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="Who wrote it; empty: rules, from what is known",
                        max_length=150,
                    ),
                ),
                ("note", models.TextField(blank=True, default="")),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("closed_by", models.CharField(blank=True, default="", max_length=150)),
            ],
        ),
        migrations.AddField(
            model_name="memoryentry",
            name="signature",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Alert and target: the same for the same trouble",
                max_length=300,
            ),
        ),
        migrations.RunPython(sign, migrations.RunPython.noop, elidable=True),
        migrations.AlterField(
            model_name="event",
            name="kind",
            field=models.CharField(
                choices=[
                    ("opened", "Opened"),
                    ("joined", "Joined"),
                    ("resolved_by_sender", "Resolved By Sender"),
                    ("contested", "Contested"),
                    ("reopened", "Reopened"),
                    ("status", "Status"),
                    ("agent", "Agent"),
                    ("proposed", "Proposed"),
                    ("allowed", "Allowed"),
                    ("asked", "Asked"),
                    ("refused", "Refused"),
                    ("approved", "Approved"),
                    ("rejected", "Rejected"),
                    ("expired", "Expired"),
                    ("executing", "Executing"),
                    ("executed", "Executed"),
                    ("proof", "Proof"),
                    ("closed", "Closed"),
                    ("annotated", "Annotated"),
                    ("acknowledged", "Acknowledged"),
                    ("taken_over", "Taken Over"),
                    ("given_back", "Given Back"),
                    ("notified", "Notified"),
                    ("paused", "Paused"),
                    ("resumed", "Resumed"),
                    ("autonomy", "Autonomy"),
                    ("recurred", "Recurred"),
                    ("problem", "Problem"),
                    ("token", "Token"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddIndex(
            model_name="memoryentry",
            index=models.Index(fields=["signature", "-happened_at"], name="memory_by_signature"),
        ),
        migrations.AddField(
            model_name="problem",
            name="incidents",
            field=models.ManyToManyField(related_name="problems", to="incidents.incident"),
        ),
        migrations.AddField(
            model_name="problem",
            name="target",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to="incidents.target"
            ),
        ),
        migrations.AddIndex(
            model_name="problem",
            index=models.Index(
                condition=models.Q(("closed_at", None)), fields=["-last_seen_at"], name="open_problems"
            ),
        ),
    ]
