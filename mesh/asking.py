"""What the web process asks a transport, and what it is told: the messages of `transport.ask`."""

from typing import Annotated, Any, Final

import msgspec

JOIN_SECONDS: Final = 600
"""How long a session waits for its caller at most: time enough to paste its address into another window."""

MAX_SAY = 4000
"""Characters of a text that the agent is told to say."""


class Question(msgspec.Struct, frozen=True, kw_only=True, tag_field="verb"):
    """The subclass's tag is the verb. `workspace` is a slug: nothing of another workspace is found."""

    workspace: str


class Open(Question, frozen=True, kw_only=True, tag="open"):
    """Open a session for a caller who comes by WebSocket, or in a room for those who meet there."""

    config: Any
    """The agent's configuration document; whether it is one, is the transport's to say."""
    transport: str = ""
    """Empty: the one that the document names."""
    agent: str = ""
    """The agent's slug; empty for a document of nobody."""
    agent_version: int = 0
    name: str = ""
    caller: str = ""
    captions: bool = True
    max_participants: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    """This and the next two: of a room, where the transport has one."""
    recording: bool = False
    transcription: bool = False
    join_within: Annotated[int, msgspec.Meta(ge=1, le=JOIN_SECONDS)] = JOIN_SECONDS
    """Seconds in which the caller has to come by WebSocket."""


class Say(Question, frozen=True, kw_only=True, tag="say"):
    """The agent says this as soon as nobody has the floor."""

    session: str
    text: str


class End(Question, frozen=True, kw_only=True, tag="end"):
    session: str
    reason: str = "ended"


class ChangeConfig(Question, frozen=True, kw_only=True, tag="config"):
    """Takes effect on the session's next turn."""

    session: str
    config: Any


class LookIn(Question, frozen=True, kw_only=True, tag="look"):
    """Who is in the session's room."""

    session: str


AnyQuestion = Open | Say | End | ChangeConfig | LookIn
_questions = msgspec.json.Decoder(AnyQuestion)


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's socket is at `socket_path` below the transport's origin, once and for `expires_in` seconds."""

    session: str
    path: str
    token: str
    expires_in: int
    notices: tuple[str, ...] = ()
    """What was asked for and cannot be given."""
    room_url: str = ""
    """Where people meet, with the token, instead of a socket."""

    @property
    def socket_path(self) -> str:
        return f"{self.path}/{self.token}"


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    revision: str


class Person(msgspec.Struct, frozen=True):
    """Somebody in a room; `joined_at` in ISO 8601."""

    id: str
    name: str
    joined_at: str


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """Some seconds old at most. Nobody: an empty room, or a session without one."""

    people: tuple[Person, ...]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing else is to be said about it."""

    ok: bool = True


class Detail(msgspec.Struct, frozen=True):
    path: str
    message: str


class Declined(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer that was not asked for, with the status that HTTP has for it. Without `error` it is none."""

    error: str = ""
    status: int = 0
    detail: tuple[Detail, ...] = ()


def encode(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message)


def decode_question(payload: bytes) -> AnyQuestion:
    """Raises msgspec.MsgspecError."""
    question: AnyQuestion = _questions.decode(payload)
    return question
