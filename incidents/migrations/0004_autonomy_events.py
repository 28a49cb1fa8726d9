from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("incidents", "0003_failure_counter"),
    ]

    operations = [
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
                    ("notified", "Notified"),
                    ("paused", "Paused"),
                    ("resumed", "Resumed"),
                    ("autonomy", "Autonomy"),
                    ("recurred", "Recurred"),
                    ("token", "Token"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(
                fields=["alert_name", "-closed_at"], condition=Q(status="closed"), name="closed_by_alert"
            ),
        ),
    ]
