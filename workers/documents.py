"""Where a session's configuration is found when somebody takes the session over."""

from contextlib import suppress
from dataclasses import dataclass

from connectors_app.base.connector import Sealed
from mesh import subjects
from mesh.bus.client import Bus
from mesh.bus.errors import BusError
from mesh.config.document import AgentConfig
from mesh.config.problems import ConfigError
from mesh.config.reading import parse
from mesh.events import SessionCreated, SessionUpdated, Stored
from mesh.store import ConfigStorage, Entry, StoreUnavailable
from mesh.subjects import Stage


@dataclass(frozen=True, slots=True)
class Setup:
    """What a stage works with."""

    config: AgentConfig
    credentials: Sealed
    """The workspace's own."""


async def find_config(session: str, configs: ConfigStorage, bus: Bus) -> AgentConfig:
    """From Valkey; while that is away, or holds none that is valid, as the events have it last. Raises BusError."""
    with suppress(StoreUnavailable, ConfigError):
        if (config := await configs.get_config(session)) is not None:
            return config
    return (await _last_told(session, bus))[0]


async def find_setup(session: str, configs: ConfigStorage, bus: Bus) -> Setup:
    """As `find_config`. Credentials that an entry written by hand does not have are those of the events.

    Whose they are is always as the events have it, which no hand has written.
    """
    config, credentials = await _stored(session, configs, bus)
    return Setup(config, Sealed(await _workspace(session, bus), credentials))


async def _workspace(session: str, bus: Bus) -> str:
    """Empty when the session was never created, and then nothing that is sealed opens."""
    match await bus.read(subject=subjects.canonical(Stage.SESSION, session), limit=1):
        case [Stored(event=SessionCreated(workspace=workspace))]:
            return workspace
    return ""


async def _stored(session: str, configs: ConfigStorage, bus: Bus) -> tuple[AgentConfig, dict[str, str]]:
    with suppress(StoreUnavailable, ConfigError):
        match await configs.get_entry(session):
            case Entry(document=document, credentials=None):
                config = parse(document)
                return config, (await _last_told(session, bus))[1]
            case Entry(document=document, credentials=dict(credentials)):
                return parse(document), credentials
    return await _last_told(session, bus)


async def _last_told(session: str, bus: Bus) -> tuple[AgentConfig, dict[str, str]]:
    config: AgentConfig | None = None
    for stored in reversed(await bus.history(session)):
        if isinstance(stored.event, SessionCreated | SessionUpdated):
            config = config or parse(stored.event.config)
            if stored.event.credentials is not None:
                return config, stored.event.credentials
    if config is None:
        raise BusError("the session has no configuration, neither in Valkey nor in its events")
    return config, {}
