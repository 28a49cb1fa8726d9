import django.db.models.deletion
from django.db import migrations, models

DROPPED = {
    "incidents_incident_alert_name_1a78a3a1": "alert_name",
    "incidents_incident_target_id_d4fa9c44": "target_id",
    "incidents_incident_verdict_bb6ece4a": "verdict",
}
# On PostgreSQL a text's index has another beside it, that only a LIKE would use.
BESIDE = ("incidents_incident_alert_name_1a78a3a1_like", "incidents_incident_verdict_bb6ece4a_like")


class Migration(migrations.Migration):
    """What the indexes of lists replace: those of verdict, alert_name and target alone.

    By their names, for Django would check the foreign key of every row again under a lock that stops reads,
    and on SQLite write the table anew for each of them.
    """

    dependencies = [("incidents", "0014_list_indexes")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    [f"DROP INDEX IF EXISTS {name}" for name in (*DROPPED, *BESIDE)],
                    [
                        f"CREATE INDEX {name} ON incidents_incident ({column})"
                        for name, column in DROPPED.items()
                    ],
                ),
            ],
            state_operations=[
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
            ],
        ),
    ]
