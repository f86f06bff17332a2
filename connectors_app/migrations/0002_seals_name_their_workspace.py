from django.conf import settings
from django.db import migrations

from connectors_app.sealing import CannotOpen


def name_the_workspace(apps, schema_editor):
    """One that no key opens stays as it is: it is of no use today either, and the admin says why."""
    for credential in apps.get_model('connectors_app', 'Credential').objects.select_related('workspace'):
        place = credential.workspace.slug, credential.provider
        try:
            credential.sealed = settings.CREDENTIAL_SEALING.renew(*place, credential.sealed)
        except CannotOpen:
            continue
        credential.save(update_fields=['sealed'])


class Migration(migrations.Migration):

    dependencies = [
        ('connectors_app', '0001_initial'),
    ]

    operations = [
        migrations.RunPython(name_the_workspace, migrations.RunPython.noop),
    ]
