"""What is remembered is more than incidents: entries get a kind, a key of their own, a title and a time."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, OuterRef, Subquery, Value
from django.db.models.functions import Cast, Coalesce, Concat


def describe(apps, schema_editor):
    """In one statement: a memory may hold a million."""
    entries = apps.get_model("incidents", "MemoryEntry").objects.using(schema_editor.connection.alias)
    incidents = apps.get_model("incidents", "Incident").objects.filter(pk=OuterRef("incident_id"))
    entries.update(
        key=Concat(Value("incident:"), Cast(F("incident_id"), models.CharField())),
        title=Subquery(incidents.values("alert_name")[:1]),
        happened_at=Subquery(incidents.values(at=Coalesce("closed_at", "opened_at"))[:1]),
    )


class Migration(migrations.Migration):
    dependencies = [
        ("incidents", "0006_quiet_hours"),
    ]

    operations = [
        migrations.AddField(
            model_name="memoryentry",
            name="kind",
            field=models.CharField(
                choices=[
                    ("incident", "Incident"),
                    ("imported", "incident of another memory"),
                    ("runbook", "Runbook"),
                ],
                default="incident",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="memoryentry",
            name="key",
            field=models.CharField(max_length=300, null=True),
        ),
        migrations.AddField(
            model_name="memoryentry",
            name="title",
            field=models.CharField(
                default="", help_text="The alert's name, or the runbook's heading", max_length=300
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="memoryentry",
            name="happened_at",
            field=models.DateTimeField(help_text="When it ended, else when it began", null=True),
        ),
        migrations.AddField(
            model_name="memoryentry",
            name="next_model",
            field=models.CharField(
                blank=True,
                default="",
                help_text="The model that is about to replace `model`",
                max_length=120,
            ),
        ),
        migrations.AddField(
            model_name="memoryentry",
            name="next_vector",
            field=models.BinaryField(null=True),
        ),
        migrations.RunPython(describe, migrations.RunPython.noop, elidable=True),
        migrations.AlterField(
            model_name="memoryentry",
            name="key",
            field=models.CharField(
                help_text="incident:ID, or where it came from and its id there", max_length=300, unique=True
            ),
        ),
        migrations.AlterField(
            model_name="memoryentry",
            name="incident",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="memory",
                to="incidents.incident",
            ),
        ),
        migrations.AddIndex(
            model_name="memoryentry",
            index=models.Index(fields=["title", "-happened_at"], name="memory_by_title"),
        ),
        migrations.AddIndex(
            model_name="memoryentry",
            index=models.Index(fields=["updated_at"], name="memory_by_change"),
        ),
        migrations.AddIndex(
            model_name="memoryentry",
            index=models.Index(
                condition=models.Q(("kind", "incident"), _negated=True),
                fields=["kind"],
                name="memory_of_others",
            ),
        ),
        migrations.AddConstraint(
            model_name="memoryentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("incident__isnull", False), ("kind", "incident")),
                    models.Q(models.Q(("kind", "incident"), _negated=True), ("incident__isnull", True)),
                    _connector="OR",
                ),
                name="an_incident_exactly_when_of_that_kind",
            ),
        ),
    ]
