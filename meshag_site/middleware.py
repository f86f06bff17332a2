"""What happens to every response: it is counted and carries the content policy. Static files are read here too."""

from abc import ABC, abstractmethod
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from prometheus_client import Counter
from whitenoise.middleware import WhiteNoiseMiddleware

from sessions_app.addresses import ReachingPage

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)


ADMIN_POLICY = "; ".join(
    (CONTENT_POLICY.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'"), "style-src-attr 'unsafe-inline'")
)
"""The admin's menus and tabs are Alpine's, which evaluates what their attributes say and binds `style`."""

DEVICES = "camera=(), display-capture=(), geolocation=(), payment=(), usb=(), microphone=({})"
"""Only the call page listens."""


def connecting(policy: str, origin: str) -> str:
    """The policy of a page whose scripts also talk to that origin."""
    return policy.replace("connect-src 'self'", f"connect-src 'self' {origin}")


REQUESTS = Counter("meshag_web_requests", "Answered requests by the class of their status", ["status"])


class Passage(ABC):
    """Looks at every response on its way out, in both of Django's worlds."""

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self.answer(request)
        return self.see(request, self.get_response(request))

    async def answer(self, request: HttpRequest) -> HttpResponseBase:
        return self.see(request, await self.get_response(request))

    @abstractmethod
    def see(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase: ...


class CountRequests(Passage):
    def see(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        REQUESTS.labels(f"{response.status_code // 100}xx").inc()
        return response


class ContentSecurityPolicy(Passage):
    """What pages may load and use.

    A view whose page talks to another origin answers with a ReachingPage; a header of its own is kept.
    """

    def see(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        policy = ADMIN_POLICY if request.path.startswith(reverse("admin:index")) else CONTENT_POLICY
        if isinstance(response, ReachingPage):
            policy = connecting(policy, response.reaches)
        response.headers.setdefault("Content-Security-Policy", policy)
        talks = request.path.startswith(reverse("calls:default"))
        response.headers.setdefault("Permissions-Policy", DEVICES.format("self" if talks else ""))
        return response


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """WhiteNoise, with the file read whole: a synchronous iterator has no place in an ASGI response."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        answer = static_file.get_response(request.method, request.META)
        body = b""
        if answer.file is not None:
            with answer.file:
                body = answer.file.read()
        return HttpResponse(body, status=int(answer.status), headers=dict(answer.headers))
