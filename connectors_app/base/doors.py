"""By which callers come in: rooms and telephone calls."""

from abc import abstractmethod
from dataclasses import dataclass

from connectors_app.base.connector import Connector, Door


@dataclass(frozen=True, slots=True)
class RoomWishes:
    """What a session wants of its room. `None` and False leave it to the provider."""

    expires_at: int
    """Unix seconds; then nobody comes in any more, and who is there has to leave."""
    max_participants: int | None = None
    recording: bool = False
    transcription: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    name: str
    url: str
    """Where people meet."""


@dataclass(frozen=True, slots=True)
class Present:
    """Somebody who is in a room now."""

    id: str
    name: str
    joined_at: str
    """As the provider says it, in ISO 8601."""


class RoomService(Connector):
    """Rooms in which people meet, each made for one session and named by its maker."""

    role = Door.TRANSPORT

    @abstractmethod
    async def create_room(self, name: str, wishes: RoomWishes) -> Room:
        """A failure may leave a room behind: who cannot use it deletes it by its name."""

    @abstractmethod
    async def create_token(self, name: str, wishes: RoomWishes, *, caller: str = "") -> str:
        """What lets people into this room, until it expires. `caller` is the name that they have there."""

    @abstractmethod
    async def presence(self, name: str) -> tuple[Present, ...]:
        """Nobody, where there is no such room."""

    @abstractmethod
    async def delete_room(self, name: str) -> bool:
        """False when it was gone already, which is as good."""


class CallService(Connector):
    """Telephone calls that go on at the provider when our side of them has ended."""

    role = Door.TRANSPORT

    @abstractmethod
    async def hang_up(self, call_id: str) -> None:
        """A call that is over already is as good."""
