"""`manage.py rotate_credentials`: seal every stored provider key with the newest key of MESHAG_CREDENTIAL_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors_app.actions import rotate_credentials


class Command(BaseCommand):
    help = "Seal every stored provider key with the newest of MESHAG_CREDENTIAL_KEYS. A second run changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        done = rotate_credentials()
        self.stdout.write(f"{done.renewed} credentials sealed anew, {done.untouched} had the newest key already")
        if done.unreadable:
            raise CommandError(
                f"{len(done.unreadable)} cannot be opened: {'; '.join(done.unreadable)}. Add the key that sealed them "
                "to MESHAG_CREDENTIAL_KEYS, or enter them anew in the admin."
            )
