import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """An index of each column that lists are filtered by, with the key, so that the newest are found first.

    They replace those of verdict, alert_name and target alone, and on PostgreSQL the two beside them that only a
    LIKE would use: there are as many indexes to write as before.
    """

    dependencies = [("incidents", "0013_ended_incidents")]

    operations = [
        migrations.AlterField(
            model_name="incident",
            name="alert_name",
            field=models.CharField(editable=False, max_length=200),
        ),
        migrations.AlterField(
            model_name="incident",
            name="target",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                to="incidents.target",
            ),
        ),
        migrations.AlterField(
            model_name="incident",
            name="verdict",
            field=models.CharField(
                blank=True,
                choices=[
                    ("verified", "Verified"),
                    ("cleared_before_action", "Cleared Before Action"),
                    ("resolved_by_human", "Resolved By Human"),
                    ("not_fixed", "Not Fixed"),
                    ("relapsed", "Relapsed"),
                    ("unknown", "Unknown"),
                    ("false_alarm", "False Alarm"),
                ],
                editable=False,
                max_length=24,
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(fields=["verdict", "id"], name="incidents_by_verdict"),
        ),
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(fields=["severity_class", "id"], name="incidents_by_severity"),
        ),
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(fields=["source", "id"], name="incidents_by_source"),
        ),
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(fields=["alert_name", "id"], name="incidents_by_alert"),
        ),
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(fields=["target", "id"], name="incidents_by_target"),
        ),
    ]
