"""Whether somebody may go on watching by an open socket, which stays open for hours."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from channels.auth import get_user
from django.conf import settings

SIGNED_OUT = 4401
"""The code of a close: the page's script then loads the page anew, which leads to the login."""


async def is_signed_in(scope: Mapping[str, Any]) -> bool:
    """Who opened the socket still is: not signed out, the password not changed, the account still active."""
    store = import_module(settings.SESSION_ENGINE).SessionStore(scope["session"].session_key)
    user = await get_user({"session": store})
    return bool(user.is_authenticated and user.pk == scope["user"].pk)
