from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def name_alerts(apps, schema_editor):
    """Actions from before: the alert that their incident began with."""
    action, incident = apps.get_model("agents", "Action"), apps.get_model("incidents", "Incident")
    name = incident.objects.filter(pk=OuterRef("incident")).values("alert_name")
    action.objects.update(alert_name=Subquery(name))


class Migration(migrations.Migration):
    dependencies = [
        ("incidents", "0004_autonomy_events"),
        ("agents", "0007_more_kinds"),
    ]

    operations = [
        migrations.CreateModel(
            name="Autonomy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("restart_container", "restart container"),
                            ("start_container", "start container"),
                            ("stop_container", "stop container"),
                            ("create_silence", "silence the alert of"),
                            ("run_maintenance", "maintenance of"),
                        ],
                        max_length=30,
                    ),
                ),
                ("target_kind", models.CharField(max_length=30)),
                ("alert_name", models.CharField(max_length=200)),
                (
                    "level",
                    models.CharField(
                        choices=[("asks", "Asks"), ("alone", "acts alone")], default="asks", max_length=5
                    ),
                ),
                ("raised_at", models.DateTimeField(null=True)),
                (
                    "raised_by",
                    models.CharField(
                        blank=True, default="", help_text="The person who said so", max_length=150
                    ),
                ),
                ("lowered_at", models.DateTimeField(null=True)),
                ("lowered_why", models.CharField(blank=True, default="", max_length=300)),
                (
                    "offered_at",
                    models.DateTimeField(help_text="Empty again once it was lowered", null=True),
                ),
                (
                    "offered_count",
                    models.PositiveIntegerField(default=0, help_text="How many were verified then"),
                ),
                ("declined_at", models.DateTimeField(null=True)),
                ("declined_by", models.CharField(blank=True, default="", max_length=150)),
            ],
            options={"verbose_name_plural": "autonomy"},
        ),
        migrations.AddConstraint(
            model_name="autonomy",
            constraint=models.UniqueConstraint(
                fields=("alert_name", "kind", "target_kind"), name="one_row_a_pair"
            ),
        ),
        migrations.AddField(
            model_name="action",
            name="alert_name",
            field=models.CharField(
                blank=True, default="", help_text="The target's alert that it answers", max_length=200
            ),
        ),
        migrations.AddField(
            model_name="step",
            name="waits_since",
            field=models.DateTimeField(
                help_text="Since when the Healer waits for the alert to heal itself", null=True
            ),
        ),
        migrations.RunPython(name_alerts, migrations.RunPython.noop, elidable=True),
        migrations.AddIndex(
            model_name="action",
            index=models.Index(fields=["alert_name", "kind", "-executing_at"], name="changes_for_alert"),
        ),
    ]
