"""The site's settings on neutral ground: nobody's `.env` and running servers, and a data directory of its own.

Programs that tests start inherit that ground, but read the site's own settings.
"""

import atexit
import os
import shutil
import tempfile

_directory = tempfile.mkdtemp(prefix="meshag-tests-")
atexit.register(shutil.rmtree, _directory, ignore_errors=True)

_OURS = ("MESHAG_", "NATS_URL", "VALKEY_URL", "REDIS_URL", "DATABASE_URL", "LOG_LEVEL", "RUST_LOG")
for _name in [name for name in os.environ if name.startswith(_OURS)]:
    del os.environ[_name]
os.environ.update(MESHAG_ENV_FILE=os.devnull, MESHAG_DATA_DIR=_directory)

from meshag_site.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose
os.environ["DJANGO_SETTINGS_MODULE"] = "meshag_site.settings"
