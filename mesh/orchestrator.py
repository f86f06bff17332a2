"""The documented library: load a configuration, and route by it from the side of one service."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self

from mesh import subjects
from mesh.config.document import SERVICES, AgentConfig, ServiceConnectors
from mesh.config.json_text import load_json
from mesh.config.reading import read
from mesh.config.rules import check
from mesh.routing import Routes
from mesh.store import ConfigStorage
from mesh.subjects import Stage

SOURCE_HEADER = "source_service"
TARGET_HEADER = "target_service"
STREAM_HEADER = "stream"
SESSION_HEADER = "session_id"


class EventQueue(Protocol):
    """Whatever can publish; `mesh.bus.client.Bus` can."""

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> None: ...


class NotLoaded(LookupError):
    """There is no configuration for the session."""


class AgentOrchestrator:
    """A configuration and its rules. Loading takes its shape; `validate_config` holds it to the rules."""

    def __init__(self, config: AgentConfig) -> None:
        self.config = config

    @classmethod
    async def from_config_file(cls, path: str | Path) -> Self:
        """Raises OSError when the file cannot be read, ConfigError when it is not a configuration."""
        return cls.from_json(await asyncio.to_thread(Path(path).read_bytes))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises ConfigError when it is not a configuration."""
        return cls(read(load_json(text)))

    def validate_config(self) -> None:
        """Raises ConfigError, which names every problem."""
        check(self.config)


class ServiceRouter:
    """One service's view of one session at a time: where its output goes, its connectors, the prompt."""

    def __init__(self, storage: ConfigStorage, event_queue: EventQueue, service: str) -> None:
        self._storage = storage
        self._event_queue = event_queue
        self._service = service
        self._session = ""
        self._config: AgentConfig | None = None

    @classmethod
    async def new(cls, url: str, event_queue: EventQueue, service: str) -> Self:
        """Connect to the configurations at `url`; raises StoreUnavailable when nobody answers there."""
        if service not in SERVICES:
            raise ValueError(f"unknown service {service!r}; allowed: {', '.join(SERVICES)}")
        return cls(await ConfigStorage.new(url), event_queue, service)

    async def close(self) -> None:
        await self._storage.close()

    async def load_config(self, session: str) -> bool:
        """Read the session's configuration as it is now; False when there is none."""
        self._session, self._config = session, None
        self._config = await self._storage.get_config(session)
        return self._config is not None

    async def route_to_next(self, payload: bytes, session: str) -> tuple[str, ...]:
        """Publish the payload once for each step that starts at this service; the services it went to.

        Raises NotLoaded when the session has no configuration.
        """
        if session != self._session or self._config is None:
            await self.load_config(session)
        if self._config is None:
            raise NotLoaded(f"session {session!r} has no configuration")
        steps = Routes.of(self._config).targets(self._service)
        for step in steps:
            headers = {
                SOURCE_HEADER: self._service,
                TARGET_HEADER: step.target,
                STREAM_HEADER: step.stream,
                SESSION_HEADER: session,
            }
            await self._event_queue.publish(output_subject(self._service, session), payload, headers)
        return tuple(step.target for step in steps)

    def get_connector_config(self) -> ServiceConnectors | None:
        """The connectors of this service in the loaded configuration."""
        return self._config.connectors.get(self._service) if self._config else None

    def get_system_prompt(self) -> str | None:
        return self._config.system_prompt if self._config else None


def output_subject(service: str, session: str) -> str:
    """The subject on which a service puts out what the next one takes in."""
    match service:
        case "transport":
            return subjects.audio_input(session)
        case "tts":
            return subjects.tts_output(session)
        case _:
            return subjects.canonical(Stage(service), session)
