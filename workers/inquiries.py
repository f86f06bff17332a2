"""What a transport asks the bridge: whose key this is, which agent answers, and with whose credentials."""

import json
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

from connectors_app import registry
from mesh import subjects
from mesh.bus import Bus, BusError
from workers.desk import AgentAnswer, Unavailable

log = logging.getLogger(__name__)

BRIDGE_SECONDS = 3.0
CREDENTIAL_SECONDS = 1.0
"""A session can do without the answer, so it does not wait for long."""
KEY_SECONDS = 5.0
"""How long an API key's answer is remembered: a revoked key works no longer than this."""
AWAY_SECONDS = 3.0
"""How long a bridge that did not answer is not asked for credentials."""


class Inquiries:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._keys: dict[str, tuple[float, str | None]] = {}
        self._ask_again = 0.0

    async def workspace_of(self, key: str) -> str | None:
        """What an API key opens, or None; raises Unavailable."""
        known = self._keys.get(key)
        if known and time.monotonic() - known[0] < KEY_SECONDS:
            return known[1]
        answer = await self._ask(subjects.BRIDGE_KEY, {"key": key})
        workspace = answer.get("workspace")
        self._keys = {k: v for k, v in self._keys.items() if time.monotonic() - v[0] < KEY_SECONDS}
        self._keys[key] = (time.monotonic(), workspace)
        return workspace

    async def agent(self, workspace: str | None, slug: str, number: str) -> AgentAnswer | None:
        """Raises Unavailable."""
        asked = {"workspace": workspace, "slug": slug, "number": number}
        answer = await self._ask(subjects.BRIDGE_AGENT, asked)
        if "config" not in answer:
            return None
        return AgentAnswer(answer["workspace"], answer["agent"], answer["version"], answer["config"])

    async def credentials(self, workspace: str, providers: Collection[str]) -> Mapping[str, str] | None:
        """The workspace's own, sealed, by provider. None without a bridge: calls go on with the environment's keys."""
        asked = sorted(registry.with_credentials().keys() & set(providers))
        if not asked:
            return {}
        if time.monotonic() < self._ask_again:
            return None
        question = {"workspace": workspace, "providers": asked}
        try:
            answer = await self._ask(subjects.BRIDGE_CREDENTIALS, question, within=CREDENTIAL_SECONDS)
        except Unavailable as error:
            self._ask_again = time.monotonic() + AWAY_SECONDS
            log.warning("no credentials but the environment's", extra={"error": str(error)})
            return None
        sealed: dict[str, str] = answer.get("sealed", {})
        return sealed

    async def _ask(self, subject: str, question: Mapping[str, Any], within: float = BRIDGE_SECONDS) -> dict[str, Any]:
        try:
            payload = await self._bus.request(subject, json.dumps(question).encode(), within=within)
        except BusError:
            raise Unavailable("The bridge does not answer; is `manage.py bridge` running?") from None
        answer: dict[str, Any] = json.loads(payload)
        if answer.get("unavailable"):
            raise Unavailable(answer["error"])
        return answer
