import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sessions_app', '0002_usage_estimated'),
    ]

    operations = [
        migrations.AlterField(
            model_name='usage',
            name='session',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='usage', to='sessions_app.session'),
        ),
    ]
