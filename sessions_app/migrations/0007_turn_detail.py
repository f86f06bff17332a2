from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0006_times_of_typed_turns"),
    ]

    operations = [
        migrations.AddField(
            model_name="turn",
            name="detail",
            field=models.TextField(blank=True, help_text="Why it failed."),
        ),
    ]
