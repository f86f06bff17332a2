from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts_app', '0002_workspace_retention'),
        ('sessions_app', '0003_usage_outlives_its_session'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='session',
            index=models.Index(condition=models.Q(('purged_at__isnull', False)), fields=['workspace', 'ended_at'], name='session_to_forget'),
        ),
    ]
