from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("sessions_app", "0007_turn_detail"),
    ]

    operations = [
        migrations.AddField(
            model_name="incident",
            name="utterance",
            field=models.PositiveBigIntegerField(default=0, help_text="That a recogniser was at."),
        ),
        migrations.AddField(
            model_name="usage",
            name="utterance",
            field=models.PositiveBigIntegerField(default=0, help_text="That a recogniser was at."),
        ),
    ]
