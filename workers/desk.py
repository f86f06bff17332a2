"""The seam between the transport's doors, HTTP and NATS, and the process behind them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mesh.config.document import AgentConfig
from mesh.sessions import SessionStore, Tokens
from mesh.store import ConfigStorage
from workers.media.wire import Wire
from workers.rooms import Rooms
from workers.settings import Settings

DEFAULT_WORKSPACE = "default"
"""Every installation has it: anonymous callers of the embedded default work in it."""


class Unavailable(Exception):
    """Something that the answer needs is away; the message says what, for the one who asked."""


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """A published agent version."""

    workspace: str
    slug: str
    version: int
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """A session to be. Its configuration is stored before it is created."""

    id: str
    workspace: str
    transport: str
    config: AgentConfig
    agent: str = ""
    agent_version: int = 0
    name: str = ""
    caller: str = ""
    called: str = ""
    call_id: str = ""
    max_participants: int | None = None
    captions: bool = True
    """Whether transcripts may be shown to the caller."""
    recording: bool = False
    """Whether the room's provider may record, and the same for transcripts."""
    transcription: bool = False
    notices: tuple[str, ...] = ()
    """What was asked for and cannot be given."""
    details: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    """The workspace's own, sealed, by provider."""


class Desk(Protocol):
    """What the routes need of their process."""

    settings: Settings
    environ: Mapping[str, str]
    configs: ConfigStorage
    sessions: SessionStore
    tokens: Tokens
    rooms: Rooms

    def parse_config(self, document: object) -> AgentConfig:
        """Read a document and check its providers and their options; raises ConfigError."""

    def usable_providers(self) -> Mapping[str, frozenset[str]]:
        """By role: the providers that at least one running worker can use."""

    async def bridge_key(self, key: str) -> str | None:
        """The workspace that an API key opens, or None; raises Unavailable."""

    async def bridge_agent(self, workspace: str | None, slug: str, number: str) -> AgentAnswer | None:
        """The agent of that name, else of that number, else the default; raises Unavailable.

        Without a workspace the number decides which one it is, and a name means the default workspace's.
        """

    async def own_credentials(
        self, workspace: str, providers: Collection[str], names: Mapping[str, str]
    ) -> Mapping[str, str]:
        """The workspace's own for these providers, sealed; raises Unavailable when nobody can tell now.

        Of the providers in `names` the one of that name, empty where there is none; else the one that is in use.
        """

    async def create(self, spec: SessionSpec) -> None:
        """Append `session.created`; raises Unavailable and then leaves nothing behind."""

    async def end(self, session: str, reason: str) -> bool:
        """End a session wherever it runs and say so in its record; False when it was over; raises Unavailable."""

    async def say(self, session: str, text: str) -> str:
        """Have a live session's agent say it, wherever it runs; why it will not, or nothing; raises Unavailable."""

    async def answer_media(self, session: str, wire: Wire) -> None:
        """Run the call on this wire until the wire or the call ends."""
