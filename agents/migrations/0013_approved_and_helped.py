from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("agents", "0012_chart")]

    operations = [
        migrations.AddIndex(
            model_name="action",
            index=models.Index(
                fields=["incident"], condition=Q(by_person=True, helped=True), name="approved_and_helped"
            ),
        ),
    ]
