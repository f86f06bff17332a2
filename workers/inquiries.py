"""What a transport asks the bridge: whose key this is, which agent answers, and with whose credentials."""

import json
import logging
import math
import time
from collections.abc import Collection, Mapping
from typing import Any

from connectors_app import registry
from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import BusError, NoAnswer
from workers.desk import DEFAULT_WORKSPACE, AgentAnswer, Unavailable

log = logging.getLogger(__name__)

BRIDGE_SECONDS = 3.0
CREDENTIAL_SECONDS = 1.0
"""How long one waits for credentials where the last answer would do."""
KEPT_SECONDS = 600.0
"""How long credentials are used that the bridge told last, while it does not answer."""
KEY_SECONDS = 5.0
"""How long an API key's answer is remembered: a revoked key works no longer than this."""
AWAY_SECONDS = 3.0
"""How long a bridge that did not answer is not asked again for credentials that are known."""


class Inquiries:
    def __init__(self, bus: Bus, *, is_alone: bool = False) -> None:
        self._bus = bus
        self._is_alone = is_alone
        """Started by hand in the embedded default, where there need be no bridge."""
        self._keys: dict[str, tuple[float, str | None]] = {}
        self._sealed: dict[tuple[str, str, str], tuple[float, str | None]] = {}
        """By workspace, provider and the name that is asked for, with the time of the answer."""
        self._ask_again = 0.0
        self._has_met_bridge = False

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

    async def credentials(
        self, workspace: str, providers: Collection[str], names: Mapping[str, str]
    ) -> Mapping[str, str]:
        """The workspace's own, sealed, by provider; raises Unavailable: no other key may take their place.

        Of the providers in `names` the one of that name, empty where there is none; else the one that is in use.

        A bridge that does not answer has what it said last used for a while. A transport by itself opens sessions of
        the default workspace with the environment's keys, until it has met a bridge.
        """
        owners = {provider: registry.credential_of(provider) for provider in providers}
        asked = registry.with_credentials().keys() & set(owners.values())
        sealed = await self._of_owners(workspace, {owner: names.get(owner, "") for owner in sorted(asked)})
        return {provider: sealed[owner] for provider, owner in owners.items() if owner in sealed}

    async def _of_owners(self, workspace: str, asked: Mapping[str, str]) -> Mapping[str, str]:
        if not asked:
            return {}
        known = self._last_told(workspace, asked)
        if known is not None and time.monotonic() < self._ask_again:
            return known
        try:
            return await self._ask_credentials(
                workspace, asked, BRIDGE_SECONDS if known is None else CREDENTIAL_SECONDS
            )
        except Unavailable as error:
            self._ask_again = time.monotonic() + AWAY_SECONDS
            log.warning("the bridge does not tell credentials", extra={"error": str(error)})
            if known is not None:
                return known
            if self._may_do_without(workspace):
                return {provider: "" for provider, name in asked.items() if name}
            raise Unavailable(f"Nobody can tell now whether the workspace has keys of its own. {error}") from None

    def _may_do_without(self, workspace: str) -> bool:
        return self._is_alone and not self._has_met_bridge and workspace == DEFAULT_WORKSPACE

    async def _ask_credentials(self, workspace: str, asked: Mapping[str, str], within: float) -> dict[str, str]:
        names = {provider: name for provider, name in asked.items() if name}
        question = {"workspace": workspace, "providers": list(asked)} | ({"names": names} if names else {})
        answer = await self._ask(subjects.BRIDGE_CREDENTIALS, question, within)
        if names and "named" not in answer:  # its answer is about those that are in use
            raise Unavailable("The bridge is of an older version and knows no names of credentials; restart it.")
        sealed: dict[str, str] = answer.get("sealed", {})
        now = time.monotonic()
        self._sealed = {place: told for place, told in self._sealed.items() if now - told[0] < KEPT_SECONDS}
        self._sealed |= {(workspace, *one): (now, sealed.get(one[0])) for one in asked.items()}
        return sealed

    def _last_told(self, workspace: str, asked: Mapping[str, str]) -> dict[str, str] | None:
        """None unless it is known of every one of them."""
        oldest = time.monotonic() - KEPT_SECONDS
        told = {one[0]: self._sealed.get((workspace, *one), (-math.inf, None)) for one in asked.items()}
        if any(at < oldest for at, _ in told.values()):
            return None
        return {provider: sealed for provider, (_, sealed) in told.items() if sealed is not None}

    async def _ask(self, subject: str, question: Mapping[str, Any], within: float = BRIDGE_SECONDS) -> dict[str, Any]:
        try:
            payload = await self._bus.request(subject, json.dumps(question).encode(), within=within)
        except BusError as error:
            self._has_met_bridge |= isinstance(error, NoAnswer)  # somebody serves the subject
            raise Unavailable("The bridge does not answer; is `manage.py bridge` running?") from None
        self._has_met_bridge = True
        answer: dict[str, Any] = json.loads(payload)
        if answer.get("unavailable"):
            raise Unavailable(answer["error"])
        return answer
