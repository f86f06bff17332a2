"""Where a session's configuration is found when somebody takes the session over."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from mesh.bus import Bus, BusError
from mesh.config import AgentConfig, ConfigError, parse
from mesh.events import SessionCreated, SessionUpdated
from mesh.store import ConfigStorage, Entry, StoreUnavailable


@dataclass(frozen=True, slots=True)
class Setup:
    """What a stage works with."""

    config: AgentConfig
    credentials: Mapping[str, str]
    """The workspace's own, sealed, by provider."""


async def find_config(session: str, configs: ConfigStorage, bus: Bus) -> AgentConfig:
    """From Valkey; while that is away, or holds none that is valid, as the events have it last. Raises BusError."""
    with suppress(StoreUnavailable, ConfigError):
        if (config := await configs.get_config(session)) is not None:
            return config
    return (await _last_told(session, bus)).config


async def find_setup(session: str, configs: ConfigStorage, bus: Bus) -> Setup:
    """As `find_config`. Credentials that an entry written by hand does not have are those of the events."""
    with suppress(StoreUnavailable, ConfigError):
        match await configs.get_entry(session):
            case Entry(document=document, credentials=None):
                config = parse(document)
                return Setup(config, (await _last_told(session, bus)).credentials)
            case Entry(document=document, credentials=dict(credentials)):
                return Setup(parse(document), credentials)
    return await _last_told(session, bus)


async def _last_told(session: str, bus: Bus) -> Setup:
    config: AgentConfig | None = None
    for stored in reversed(await bus.history(session)):
        if isinstance(stored.event, SessionCreated | SessionUpdated):
            config = config or parse(stored.event.config)
            if stored.event.credentials is not None:
                return Setup(config, stored.event.credentials)
    if config is None:
        raise BusError("the session has no configuration, neither in Valkey nor in its events")
    return Setup(config, {})
