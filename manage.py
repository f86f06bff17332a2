#!/usr/bin/env python
"""Django's command line."""

import os
import sys
from importlib import import_module

from django.core.management import execute_from_command_line

from mesh.environment import BadSetting


def main() -> None:
    settings = os.environ.setdefault("DJANGO_SETTINGS_MODULE", "meshag_site.settings")
    try:
        import_module(settings)
    except BadSetting as error:
        sys.exit(str(error))
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
