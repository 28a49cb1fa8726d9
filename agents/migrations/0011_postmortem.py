from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0010_what_a_scrape_asks")]

    operations = [
        migrations.AlterField(
            model_name="step",
            name="agent",
            field=models.CharField(
                choices=[
                    ("monitor", "Monitor"),
                    ("analyst", "Analyst"),
                    ("healer", "Healer"),
                    ("executor", "Executor"),
                    ("proof", "Proof"),
                    ("communicator", "Communicator"),
                    ("postmortem", "Postmortem"),
                ],
                max_length=12,
            ),
        ),
    ]
