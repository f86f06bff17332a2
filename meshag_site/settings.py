"""Settings. Every value comes from the environment or from `.env`; a wrong one raises BadSetting, which names it."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from mesh import logs
from mesh.asking import JOIN_SECONDS
from mesh.environment import Environment
from meshag_site.admin_look import UNFOLD as UNFOLD
from meshag_site.environment import database, read_env_file, read_runtime, sealing, secret_key
from meshag_site.refusals import tell_in_one_line

BASE_DIR = Path(__file__).resolve().parent.parent
read_env_file(os.environ, BASE_DIR / ".env")
DATA_DIR = Path(os.environ.get("MESHAG_DATA_DIR") or BASE_DIR / "var").expanduser().resolve()
RUNTIME = read_runtime(DATA_DIR / "runtime.json")
env = Environment(os.environ, RUNTIME)

# -- who we are ------------------------------------------------------------------------------------------

DEBUG = env.flag("MESHAG_DEBUG")
SECRET_KEY = secret_key(env, DATA_DIR / "secret-key")
CREDENTIAL_SEALING = sealing(env, DATA_DIR)
PUBLIC_URL = env.origin("MESHAG_PUBLIC_URL")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *env.words("MESHAG_ALLOWED_HOSTS")]
if PUBLIC_URL:
    ALLOWED_HOSTS.append(urlsplit(PUBLIC_URL).hostname or "")
    CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

CSRF_COOKIE_HTTPONLY = True  # pages carry the token themselves
if PUBLIC_URL.startswith("https:"):
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_REDIRECT_EXEMPT = [r"^(health|ready|metrics|metrics/targets)$"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    # Subdomains and browsers' preload lists concern the owner's whole domain: not ours to decide.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# -- Django ----------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.inlines",
    "meshag_site.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "meshag_site",
    "accounts_app",
    "connectors_app",
    "pipelines_app",
    "sessions_app",
]
MIDDLEWARE = [
    "meshag_site.middleware.CountRequests",
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
DATABASES = {"default": database(env, f"sqlite:///{DATA_DIR / 'meshag.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
FORMAT_MODULE_PATH = "meshag_site.formats"
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

NATS_URL = env.nats_url()
VALKEY_URL = env.valkey_url()
BIND = env.text("MESHAG_BIND", "127.0.0.1")
EMBEDDED = env.flag("MESHAG_EMBEDDED")
OPEN_DOOR = env.flag("MESHAG_OPEN_DOOR", True)
TRANSPORT_PORT = env.port("TRANSPORT_PORT", 8084)
BRIDGE_PORT = env.port("MESHAG_BRIDGE_PORT", 0)
TRANSPORT_SILENCE = env.number("MESHAG_TRANSPORT_SILENCE_SECONDS", 15, 2, 3600)
CALL_JOIN_SECONDS = env.number("MESHAG_CALL_JOIN_SECONDS", 60, 5, JOIN_SECONDS)
EVENTS_KEPT = env.number("MESHAG_EVENTS_KEPT_SECONDS", 600, 0, 30 * 24 * 3600)
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [VALKEY_URL], "prefix": "meshag"},
    }
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts_app.authentication.APIKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["accounts_app.bodies.StrictJSON"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "meshag_site.api.explain",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "MeshAG",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "/static/icon.svg",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {"Service": "pipelines_app.models.Service"},
    "PREPROCESSING_HOOKS": ["meshag_site.schema.without_last_slash"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "meshag_site.schema.with_agent_document",
        "meshag_site.schema.with_introduction",
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": logs.FieldFormatter, "fmt": logs.LINE}},
    "filters": {"refusals": {"()": "django.utils.log.CallbackFilter", "callback": tell_in_one_line}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["refusals"]}},
    "root": {"handlers": ["console"], "level": env.log_level()},
    "loggers": {"django.request": {"level": "ERROR"}},  # what a visitor asks for in vain is no warning
}
