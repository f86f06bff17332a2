"""Settings, read from the environment, from `.env`, and from what a running `manage.py up` has left for us."""

import json
import logging
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
environ.Env.read_env(os.environ.get("MESHAG_ENV_FILE") or BASE_DIR / ".env")

DATA_DIR = Path(os.environ.get("MESHAG_DATA_DIR") or BASE_DIR / "var").expanduser().resolve()


# -- reading the environment -----------------------------------------------------------------------------


def read_runtime(path: Path) -> dict[str, Any]:
    """Where the servers of a running `manage.py up` are. Empty when nothing runs."""
    try:
        runtime = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ImproperlyConfigured(f"{path} is not JSON: remove it and start `make up` again") from None
    if not isinstance(runtime, dict):
        raise ImproperlyConfigured(f"{path} is not a JSON object: remove it and start `make up` again")
    return runtime


RUNTIME = read_runtime(DATA_DIR / "runtime.json")


def text(name: str, default: str = "") -> str:
    """The variable, or the content of the file that `<name>_FILE` names, or what runs, or the default."""
    value, file = os.environ.get(name, "").strip(), os.environ.get(f"{name}_FILE", "").strip()
    if value and file:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set: keep one of them")
    if file:
        try:
            value = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ImproperlyConfigured(f"{name}_FILE: cannot read {file!r}: {error}") from None
        if not value:
            raise ImproperlyConfigured(f"{name}_FILE: {file!r} is empty")
    return value or str(RUNTIME.get(name) or default)


def flag(name: str) -> bool:
    value = text(name, "false").lower()
    if value not in {"true", "1", "yes", "on", "false", "0", "no", "off"}:
        raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}")
    return value in {"true", "1", "yes", "on"}


def url(name: str, default: str, *schemes: str) -> str:
    value = text(name, default)
    try:
        parts = urlsplit(value)
        valid = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if value and not valid:
        # The value may hold a password, so it is not repeated.
        raise ImproperlyConfigured(f"{name} must look like {schemes[0]}://host[:port]")
    return value


def database(default: str) -> dict[str, Any]:
    try:
        config: dict[str, Any] = environ.Env.db_url_config(text("DATABASE_URL", default))
    except (ValueError, KeyError, environ.ImproperlyConfigured):
        config = {}
    if config.get("ENGINE") not in {"django.db.backends.sqlite3", "django.db.backends.postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must begin with sqlite:/// or postgres://")
    if config["ENGINE"].endswith("sqlite3"):
        # Web, bridge and celery all write. The bridge's place in the stream is stored with its rows, so a commit that
        # a power cut takes back is simply written again: NORMAL is enough.
        pragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=10000;"
        config["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 10, "init_command": pragmas}
    return config


def load_secret_key(path: Path) -> str:
    """The installation's own key, made at the first start. Linked into place whole, so that two starters agree."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


# -- who we are ------------------------------------------------------------------------------------------

DEBUG = flag("MESHAG_DEBUG")
SECRET_KEY = text("MESHAG_SECRET_KEY") or load_secret_key(DATA_DIR / "secret-key")
if len(SECRET_KEY) < 50:
    raise ImproperlyConfigured("MESHAG_SECRET_KEY must have at least 50 characters")

PUBLIC_URL = url("MESHAG_PUBLIC_URL", "", "https", "http").rstrip("/")
_public = urlsplit(PUBLIC_URL)
if _public.path:
    raise ImproperlyConfigured("MESHAG_PUBLIC_URL must be an origin such as https://agents.example.com, without a path")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *text("MESHAG_ALLOWED_HOSTS").replace(",", " ").split()]
if _public.hostname:
    ALLOWED_HOSTS.append(_public.hostname)
    CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

if _public.scheme == "https":
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_REDIRECT_EXEMPT = [r"^(health|ready|metrics)$"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    # Subdomains and browsers' preload lists concern the owner's whole domain: not ours to decide.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# -- Django ----------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_htmx",
    "meshag_site",
    "accounts_app",
    "connectors_app",
    "pipelines_app",
    "sessions_app",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "meshag_site.middleware.ContentSecurityPolicy",
    "meshag_site.middleware.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "meshag_site.urls"
ASGI_APPLICATION = "meshag_site.asgi.application"
APPEND_SLASH = False
DATABASES = {"default": database(f"sqlite:///{DATA_DIR / 'meshag.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

AUTH_USER_MODEL = "accounts_app.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL, LOGIN_REDIRECT_URL, LOGOUT_REDIRECT_URL = "login", "home", "login"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # a clone serves its files without a build step
WHITENOISE_ALLOW_ALL_ORIGINS = False

# -- servers, API, logs ----------------------------------------------------------------------------------

NATS_URL = url("NATS_URL", "nats://localhost:4222", "nats", "tls", "ws", "wss")
VALKEY_URL = url("VALKEY_URL", "redis://localhost:6379", "redis", "rediss", "valkey", "valkeys")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [VALKEY_URL], "prefix": "meshag"},
    }
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}

LOG_LEVEL = text("LOG_LEVEL", text("RUST_LOG", "info")).upper().replace("TRACE", "DEBUG")
if LOG_LEVEL not in logging.getLevelNamesMapping():
    raise ImproperlyConfigured("LOG_LEVEL must be debug, info, warning, error or critical")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
}
