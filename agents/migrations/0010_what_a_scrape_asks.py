"""What each scrape asks: dead steps, reservations, and what was spent, by day."""

import json
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import TruncDate

NANO = 1_000_000_000


def count_spent(apps, schema_editor):
    """Days of TZ; what is counted from now on comes on top."""
    alias = schema_editor.connection.alias
    calls = apps.get_model("agents", "ModelCall").objects.using(alias).filter(cost_usd__gt=0)
    day = TruncDate("started_at", tzinfo=ZoneInfo(settings.TIME_ZONE))
    days = calls.order_by().values_list(day).annotate(spent=models.Sum("cost_usd"))
    tally = apps.get_model("incidents", "Tally")
    tally.objects.using(alias).bulk_create(
        tally(series=json.dumps(["spent", date.isoformat()], separators=(",", ":")), amount=int(spent * NANO))
        for date, spent in days
    )


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0009_owners_hand"),
        ("incidents", "0010_tally"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="step",
            index=models.Index(condition=models.Q(("state", "dead")), fields=["state"], name="dead_steps"),
        ),
        migrations.AddIndex(
            model_name="modelcall",
            index=models.Index(
                condition=models.Q(("reserved_usd__isnull", False)),
                fields=["started_at"],
                name="reserved_since",
            ),
        ),
        migrations.RunPython(count_spent, migrations.RunPython.noop, elidable=True),
    ]
