"""The site's settings on neutral ground: nobody's `.env` and running servers, and a data directory of its own.

Programs that tests start inherit that ground, but read the site's own settings. Two things may be lent to the tests:
a PostgreSQL server in TESTS_DATABASE_URL, whose user may create databases, and local models in the settings that name
them anywhere else, which are kept under another name for pytest's further processes.
"""

import atexit
import json
import os
import shutil
import tempfile

_directory = tempfile.mkdtemp(prefix="meshag-tests-")
atexit.register(shutil.rmtree, _directory, ignore_errors=True)

_MODELS = ("MESHAG_FASTER_WHISPER_MODEL", "MESHAG_VOSK_MODEL", "MESHAG_PIPER_VOICES")
_found = json.dumps({_name: os.environ[_name] for _name in _MODELS if os.environ.get(_name)})
LOCAL_MODELS: dict[str, str] = json.loads(os.environ.setdefault("TESTS_LOCAL_MODELS", _found))
_OURS = ("MESHAG_", "NATS_URL", "VALKEY_URL", "REDIS_URL", "DATABASE_URL", "LOG_LEVEL", "RUST_LOG")
for _name in [name for name in os.environ if name.startswith(_OURS)]:
    del os.environ[_name]
os.environ.update(MESHAG_ENV_FILE=os.devnull, MESHAG_DATA_DIR=_directory)

from mesh.environment import Environment  # noqa: E402
from meshag_site.environment import database  # noqa: E402
from meshag_site.settings import *  # noqa: E402, F403

if _lent := os.environ.get("TESTS_DATABASE_URL"):
    DATABASES = {"default": database(Environment({}), _lent)}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one is slow on purpose
os.environ["DJANGO_SETTINGS_MODULE"] = "meshag_site.settings"
