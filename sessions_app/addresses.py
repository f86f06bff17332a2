"""Where a caller finds the transport, and pages whose scripts go there."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string


class ReachingPage(HttpResponse):
    """A page whose scripts also talk to an origin that is not the page's: the content policy lets them."""

    def __init__(self, content: str, *, reaches: str) -> None:
        super().__init__(content)
        self.reaches = reaches


def render_reaching(request: HttpRequest, template: str, context: dict[str, Any], *, reaches: str) -> ReachingPage:
    return ReachingPage(render_to_string(template, context, request), reaches=reaches)


def socket_origin(request: HttpRequest) -> str:
    """Behind the public address, else beside the web at the name by which we were asked."""
    if settings.PUBLIC_URL:
        return "ws" + str(settings.PUBLIC_URL).removeprefix("http")
    host = urlsplit(f"//{request.get_host()}").hostname or "localhost"
    return f"ws://{f'[{host}]' if ':' in host else host}:{settings.TRANSPORT_PORT}"
