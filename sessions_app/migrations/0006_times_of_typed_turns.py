from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0005_incident_apologised"),
    ]

    operations = [
        migrations.AlterField(
            model_name="turn",
            name="waterfall",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="Milliseconds since the caller's last sound, or since the typed text came.",
            ),
        ),
    ]
