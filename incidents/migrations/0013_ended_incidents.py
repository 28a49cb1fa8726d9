from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("incidents", "0011_people")]

    operations = [
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(
                fields=["closed_at", "verdict", "alert_name", "source", "resolution_seconds"],
                condition=Q(closed_at__isnull=False),
                name="ended_incidents",
            ),
        ),
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(fields=["closed_at"], condition=Q(rating="wrong"), name="rated_wrong"),
        ),
    ]
