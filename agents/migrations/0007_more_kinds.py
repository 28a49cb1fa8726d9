from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0006_reserved_cost"),
    ]

    operations = [
        migrations.AddField(
            model_name="action",
            name="touches",
            field=models.TextField(
                blank=True,
                default="",
                help_text="What it would touch, as the world showed when it was proposed",
            ),
        ),
        migrations.AlterField(
            model_name="action",
            name="kind",
            field=models.CharField(
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
    ]
