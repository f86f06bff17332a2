"""The pages that show the API's description, from files of this installation."""

from functools import cache
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from meshag_site.middleware import CONTENT_POLICY

INLINE_STYLES = CONTENT_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Both pages are applications that write their own `style` attributes and elements."""
SWAGGER_POLICY = INLINE_STYLES
REDOC_POLICY = f"{INLINE_STYLES}; worker-src blob:"
"""Redoc searches in a worker that it makes of its own text."""


REDOC_SCRIPT = "drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"
REMOTE_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_LOGO = b"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"


class SwaggerPage(SpectacularSwaggerSplitView):
    """`/api/docs/`: each operation can be tried."""

    template_name = "api/swagger.html"
    authentication_classes = [SessionAuthentication]

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response["Content-Security-Policy"] = SWAGGER_POLICY
        return response


class RedocPage(SpectacularRedocView):
    """`/api/redoc/`: to be read. With `?script` it is the page's script."""

    template_name = "api/redoc.html"
    authentication_classes = [SessionAuthentication]

    @staticmethod
    def _redoc_standalone() -> str:
        return f"{reverse('api-redoc')}?script"

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        if "script" in request.GET:
            kept = {"Cache-Control": "max-age=3600"}
            return HttpResponse(_local_redoc(), content_type="text/javascript; charset=utf-8", headers=kept)
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response["Content-Security-Policy"] = REDOC_POLICY
        return response


@cache
def _local_redoc() -> bytes:
    """Redoc as it is installed, but for the one picture that it would fetch from elsewhere."""
    return Path(str(finders.find(REDOC_SCRIPT))).read_bytes().replace(REMOTE_LOGO, NO_LOGO)
