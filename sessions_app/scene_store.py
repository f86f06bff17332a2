"""The latest scene of each session in Valkey, so that who comes in the middle of a sentence sees it at once."""

from collections.abc import Mapping

import msgspec

from mesh.store import Valkey, check_session_id
from sessions_app.scene import Phase, Scene

LASTS = 600
"""Seconds; a session whose bridge is gone for longer shows its rows only."""

_decoder = msgspec.json.Decoder(Scene)


class SceneStore:
    """`scene:<session>`, written by the bridge."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey

    async def put(self, scenes: Mapping[str, Scene]) -> None:
        """Raises StoreUnavailable. Of a session that is over nothing is kept."""
        async with self._valkey.reaching() as client, client.pipeline(transaction=False) as pipe:
            for session, scene in scenes.items():
                if scene.phase is Phase.OVER:
                    pipe.delete(f"scene:{session}")
                else:
                    pipe.set(f"scene:{session}", msgspec.json.encode(scene), ex=LASTS)
            await pipe.execute()

    async def get(self, session: str) -> Scene | None:
        """None also when a newer version of us wrote what cannot be read here; raises StoreUnavailable."""
        key = f"scene:{check_session_id(session)}"
        async with self._valkey.reaching() as client:
            text = await client.get(key)
        try:
            return _decoder.decode(text) if text else None
        except msgspec.MsgspecError:
            return None
