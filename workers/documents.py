"""Where a session's configuration is found when somebody takes the session over."""

from contextlib import suppress

from mesh.bus import Bus, BusError
from mesh.config import AgentConfig, ConfigError, parse
from mesh.events import SessionCreated, SessionUpdated
from mesh.store import ConfigStorage, StoreUnavailable


async def find_config(session: str, configs: ConfigStorage, bus: Bus) -> AgentConfig:
    """From Valkey; while that is away, or holds none that is valid, as the events have it last. Raises BusError."""
    with suppress(StoreUnavailable, ConfigError):
        if (config := await configs.get_config(session)) is not None:
            return config
    for stored in reversed(await bus.history(session)):
        if isinstance(stored.event, SessionCreated | SessionUpdated):
            return parse(stored.event.config)
    raise BusError("the session has no configuration, neither in Valkey nor in its events")
