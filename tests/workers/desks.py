"""A desk with real stores behind it, which writes down what the routes ask of their process."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, web

from connectors_app.pool import Pool
from mesh.config.document import AgentConfig
from mesh.config.reading import parse
from mesh.sessions import SessionStore, Tokens
from mesh.store import ConfigStorage, Valkey
from tests.workers.media.sockets import serving
from workers.api import routes
from workers.desk import AgentAnswer, SessionSpec, Unavailable
from workers.media.wire import Fact, Opened, Wire
from workers.rooms import Rooms
from workers.settings import Settings

KEY = "mag_abcdefgh_owner"
STRANGER = "mag_ijklmnop_stranger"

SEED: dict[str, Any] = {
    "system_prompt": "You are a helpful AI assistant.",
    "pipeline": {
        "name": "voice_chat",
        "flow": [
            {"from": "transport", "to": "stt", "stream": "audio"},
            {"from": "stt", "to": "llm", "stream": "text"},
            {"from": "llm", "to": "tts", "stream": "text"},
            {"from": "tts", "to": "transport", "stream": "audio"},
        ],
    },
    "connectors": {
        "stt": {"primary": "openai", "fallback": ["deepgram"], "config": {"openai": {"model": "whisper-1"}}},
        "llm": {"primary": "openai", "fallback": ["anthropic"], "config": {"openai": {"model": "gpt-4o"}}},
        "tts": {"primary": "elevenlabs", "fallback": ["azure"], "config": {"elevenlabs": {"voice": "Rachel"}}},
        "transport": {"primary": "daily", "config": {}},
    },
}


def document(transport: str = "websocket") -> dict[str, Any]:
    """The documented configuration with another transport."""
    changed = deepcopy(SEED)
    changed["connectors"]["transport"]["primary"] = transport
    return changed


def body(**changes: object) -> dict[str, Any]:
    """The documented request."""
    wishes = {"max_participants": 10, "enable_recording": True, "enable_transcription": True}
    return {"config": document(), "session_name": "my-ai-session", **wishes, **changes}


@dataclass
class RecordingDesk:
    """What a transport process is to its routes."""

    settings: Settings
    configs: ConfigStorage
    sessions: SessionStore
    tokens: Tokens
    rooms: Rooms = field(default_factory=lambda: Rooms(Pool({})))
    environ: Mapping[str, str] = field(default_factory=dict)
    usable: dict[str, frozenset[str]] = field(
        default_factory=lambda: {role: frozenset(["openai", "elevenlabs"]) for role in ("stt", "llm", "tts")}
    )
    agents: list[AgentAnswer] = field(default_factory=list)
    asked: list[tuple[str | None, str, str]] = field(default_factory=list)
    own: dict[str, dict[str, str]] = field(default_factory=dict)
    created: list[SessionSpec] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    away: str = ""

    def parse_config(self, document: object) -> AgentConfig:
        return parse(document)

    def usable_providers(self) -> Mapping[str, frozenset[str]]:
        return self.usable

    async def bridge_key(self, key: str) -> str | None:
        self._reach("bridge")
        return {KEY: "default", STRANGER: "elsewhere"}.get(key)

    async def bridge_agent(self, workspace: str | None, slug: str, number: str) -> AgentAnswer | None:
        self._reach("bridge")
        self.asked.append((workspace, slug, number))
        found = [agent for agent in self.agents if slug in ("", agent.slug) and workspace in (None, agent.workspace)]
        return found[0] if found else None

    async def own_credentials(
        self, workspace: str, providers: Collection[str], names: Mapping[str, str]
    ) -> Mapping[str, str]:
        self._reach("bridge")
        return {name: sealed for name, sealed in self.own.get(workspace, {}).items() if name in providers}

    async def create(self, spec: SessionSpec) -> None:
        self._reach("bus")
        self.created.append(spec)

    async def end(self, session: str, reason: str) -> bool:
        record = await self.sessions.get(session)
        if record is None or record["state"] == "ended":
            return False
        self.ended.append((session, reason))
        await self.move(session, "ended")
        return True

    async def say(self, session: str, text: str) -> str:
        self.said.append((session, text))
        return ""

    async def answer_media(self, session: str, wire: Wire) -> None:
        self.answered.append(session)
        async for fact in wire.receive():
            self.facts.append(fact)
            if isinstance(fact, Opened):
                await wire.welcome(session)

    async def move(self, session: str, state: str) -> None:
        record = await self.sessions.get(session)
        assert record is not None
        await self.sessions.put(session, record | {"state": state}, 60)

    def _reach(self, what: str) -> None:
        if self.away == what:
            raise Unavailable(f"The {what} is away.")


@dataclass
class Front:
    """The API as a client meets it, and the desk behind it."""

    client: ClientSession
    desk: RecordingDesk
    url: str


@asynccontextmanager
async def front(
    valkey_url: str, settings: Settings, headers: Mapping[str, str], kind: type[RecordingDesk] = RecordingDesk
) -> AsyncIterator[Front]:
    valkey = await Valkey.connect(valkey_url)
    desk = kind(settings, ConfigStorage(valkey), SessionStore(valkey), Tokens(valkey))
    app = web.Application()
    app.router.add_routes(routes(desk))
    async with serving(app) as url, ClientSession(url, headers=headers) as client:
        yield Front(client, desk, url)
    await valkey.close()
