"""Who asks the API: a program by its key, or a person by the browser's session."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts_app.models import APIKey

UNKNOWN_KEY = "This API key is not known, expired or revoked. Draw a new one."


class Program:
    """Stands where a user stands. What it may do is its key's to say."""

    is_authenticated = True
    is_active = True
    is_anonymous = False
    pk = None


class APIKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer …` or `X-API-Key: …`. A key that is given and wrong is refused, whoever is signed in."""

    def authenticate(self, request: Request) -> tuple[Program, APIKey] | None:
        secret = _given_key(request)
        if secret is None:
            return None
        key = APIKey.objects.verify(secret)
        if key is None:
            raise AuthenticationFailed(UNKNOWN_KEY)
        return Program(), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="MeshAG"'


def _given_key(request: Request) -> str | None:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    return request.headers.get("X-API-Key")


class APIKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = APIKeyAuthentication
    name = ["bearerKey", "headerKey"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        bearer = {"type": "http", "scheme": "bearer", "description": "An API key of a workspace."}
        header = {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."}
        return [bearer, header]

    def get_security_requirement(self, auto_schema: Any) -> Any:
        """One of the two, not both."""
        return [{name: []} for name in self.name]
