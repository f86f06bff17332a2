"""The seam between a call and the process that holds it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from mesh.bus.client import Bus
from mesh.config.document import AgentConfig
from mesh.store import ConfigStorage
from workers.casting import Casting
from workers.media.wire import Fact, Opened, Wire
from workers.metrics import Metrics
from workers.records import Records


@dataclass(frozen=True, slots=True)
class Line:
    """A caller's open socket: its wire, what it says after `Opened`, and that."""

    wire: Wire
    facts: AsyncIterator[Fact]
    opened: Opened


class Exchange(Protocol):
    """What a call needs of its transport process."""

    bus: Bus
    configs: ConfigStorage
    metrics: Metrics
    worker: str
    casting: Casting
    records: Records

    def parse_config(self, document: object) -> AgentConfig: ...

    async def resume_token(self, session: str) -> str: ...
