"""Where a caller finds the transport."""

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest


def socket_origin(request: HttpRequest) -> str:
    """Behind the public address, else beside the web at the name by which we were asked."""
    if settings.PUBLIC_URL:
        return "ws" + str(settings.PUBLIC_URL).removeprefix("http")
    host = urlsplit(f"//{request.get_host()}").hostname or "localhost"
    return f"ws://{f'[{host}]' if ':' in host else host}:{settings.TRANSPORT_PORT}"
