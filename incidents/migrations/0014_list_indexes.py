from django.db import migrations, models


class Migration(migrations.Migration):
    """An index of each column that lists are filtered by, with the key, so that the newest are found first.

    Nothing else is in this transaction: while they are built writes wait, and reads go on. What they replace
    goes in the next one.
    """

    dependencies = [("incidents", "0013_ended_incidents")]

    operations = [
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
