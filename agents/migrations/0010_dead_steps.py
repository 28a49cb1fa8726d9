"""Dead steps are looked for each minute, and by each scrape; among millions they want an index."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0009_owners_hand"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="step",
            index=models.Index(condition=models.Q(("state", "dead")), fields=["state"], name="dead_steps"),
        ),
    ]
