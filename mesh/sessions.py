"""Sessions in Valkey: their records, seen by every transport process, and one-time tokens that open a media socket."""

import json
import re
import secrets
from typing import Any, Final, cast

from mesh.store import Shelf, Valkey, check_session_id, check_ttl

TOKEN_BYTES: Final = 24
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")

Record = dict[str, Any]
"""What a transport tells about a session; any JSON object."""


class SessionStore:
    """The record of each session, as `session:<session>`."""

    def __init__(self, valkey: Valkey) -> None:
        self._shelf = Shelf(valkey, "session")

    async def put(self, session: str, record: Record, ttl: int) -> None:
        await self._shelf.put(session, json.dumps(record), ttl)

    async def get(self, session: str) -> Record | None:
        text = await self._shelf.get(session)
        return None if text is None else cast(Record, json.loads(text))

    async def list(self) -> dict[str, Record]:
        """The records of all live sessions by their ids, the next to expire first."""
        texts = await self._shelf.get_many(await self._shelf.ids())
        return {session: json.loads(text) for session, text in texts.items()}

    async def extend(self, session: str, ttl: int) -> bool:
        """At least `ttl` seconds from now, never fewer than it has; False when there is no record."""
        return await self._shelf.extend(session, ttl)

    async def sweep(self) -> int:
        """Forget the sessions whose record has expired, and count them."""
        return await self._shelf.sweep()

    async def delete(self, session: str) -> bool:
        return await self._shelf.delete(session)


class Tokens:
    """Secrets of one session and one purpose that can be taken once."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    async def issue(self, session: str, purpose: str, ttl: int, **claims: Any) -> str:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        value = json.dumps({**claims, "session": check_session_id(session), "purpose": purpose})
        async with self._valkey.reaching() as client:
            await client.set(f"token:{token}", value, ex=check_ttl(ttl))
        return token

    async def extend(self, token: str, ttl: int) -> bool:
        """So many seconds from now; False when it was used or has expired."""
        async with self._valkey.reaching() as client:
            return bool(await client.expire(f"token:{token}", check_ttl(ttl)))

    async def take(self, token: str, purpose: str) -> Record | None:
        """The claims, `session` among them; None when the token is unknown, used, expired or for another purpose.

        The token is used up in every case.
        """
        if not _TOKEN.fullmatch(token):
            return None
        async with self._valkey.reaching() as client:
            text = await client.getdel(f"token:{token}")
        claims = cast(Record, json.loads(text)) if text else {}
        return claims if claims.get("purpose") == purpose else None
