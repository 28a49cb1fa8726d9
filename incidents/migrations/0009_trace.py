from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("incidents", "0008_problems"),
    ]

    operations = [
        migrations.AddField(
            model_name="incident",
            name="request_id",
            field=models.CharField(
                editable=False,
                help_text="X-Request-ID of the delivery that opened it",
                max_length=128,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="traceparent",
            field=models.CharField(
                editable=False,
                help_text="The span that opened it, as W3C writes it; null: it was not traced",
                max_length=55,
                null=True,
            ),
        ),
    ]
