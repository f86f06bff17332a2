"""The web process: pages and API by Django, live pages over WebSockets by Channels. No media comes here."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "meshag_site.settings")
pages = get_asgi_application()

from sessions_app.routing import websocket_urlpatterns  # noqa: E402 (its models need the apps that were just loaded)

sockets = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
application = ProtocolTypeRouter({"http": pages, "websocket": sockets})
