"""The pages that show the API's description, from files of this installation."""

from typing import Any

from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from meshag_site.middleware import CONTENT_POLICY

INLINE_STYLES = CONTENT_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Both pages are applications that write their own `style` attributes and elements."""
SWAGGER_POLICY = INLINE_STYLES
REDOC_POLICY = f"{INLINE_STYLES}; worker-src blob:"
"""Redoc searches in a worker that it makes of its own text."""


class SwaggerPage(SpectacularSwaggerSplitView):
    """`/api/docs/`: each operation can be tried."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response["Content-Security-Policy"] = SWAGGER_POLICY
        return response


class RedocPage(SpectacularRedocView):
    """`/api/redoc/`: to be read."""

    template_name = "api/redoc.html"

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response["Content-Security-Policy"] = REDOC_POLICY
        return response
