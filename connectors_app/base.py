"""What a provider is: roles, options, errors, and one small abstract class a role.

A provider speaks its protocol and nothing else. The runner owns deadlines, fallback and metrics; the worker owns
sessions, turns and events. A provider raises `ProviderError` and no other error, `from None` where the cause may hold
a key. SDKs are imported inside `warm()` or the method that needs them.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict

PROBE_RATE = 16_000


class Role(StrEnum):
    STT = "stt"
    LLM = "llm"
    TTS = "tts"


class Door(StrEnum):
    """By which callers come in: no part of a turn, and so neither a worker's nor one with a fallback."""

    TRANSPORT = "transport"


class ErrorKind(StrEnum):
    UNCONFIGURED = "unconfigured"  # no key
    REFUSED = "refused"  # no connection: DNS, TCP, TLS
    AUTH = "auth"  # 401, 403
    REQUEST = "request"  # the provider does not accept what was asked: 400, 404, 422
    QUOTA = "quota"  # 402, quota used up
    RATE_LIMIT = "rate_limit"  # 429
    SERVER = "server"  # 5xx
    TIMEOUT = "timeout"  # nothing in time
    BROKEN = "broken"  # cut, garbage, or an end without the provider's end mark
    EMPTY = "empty"  # a well-formed answer with nothing in it


class ProviderError(Exception):
    """`message` is for people: plain words, no key, no caller data. `retry_after` in seconds."""

    def __init__(
        self, kind: ErrorKind, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.retry_after = retry_after


class Options(BaseModel):
    """A provider's options for one role, declared with ranges and help texts (`Field(ge=…, description=…)`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)


AnyOptions = Options
"""The same class under a name that `Connector.Options` does not shadow."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a provider needs besides its key and address, such as a region."""

    name: str
    """As in the environment."""
    label: str
    pattern: str
    """What the whole value must look like: it may become a part of an address."""
    help: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """From the environment, or a workspace's own. `base_url` has no trailing slash."""

    api_key: str = field(default="", repr=False)
    base_url: str = ""
    is_own: bool = False
    """A workspace's, from the database."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A workspace's own credentials as they travel, each sealed for its workspace and provider.

    An empty one stands for a credential that the document names and the workspace does not have.
    """

    workspace: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    """By provider."""


class Connector(ABC):
    """One provider in one role, with its options. Made once for each (provider, options) and shared by sessions."""

    slug: ClassVar[str]
    label: ClassVar[str]
    role: ClassVar[Role | Door]
    Options: ClassVar[type[AnyOptions]]
    key_setting: ClassVar[str] = ""
    """The environment name of the key; empty: needs none."""
    base_url_setting: ClassVar[str] = ""
    default_base_url: ClassVar[str] = ""
    more_settings: ClassVar[tuple[Setting, ...]] = ()
    credential_slug: ClassVar[str] = ""
    """The provider whose credential this one goes by, where both belong to one account; empty: its own."""
    is_for_workspaces: ClassVar[bool] = True
    """Whether a workspace may have a key of its own for it; else only the installation has one."""

    def __init__(self, options: AnyOptions, credentials: Credentials) -> None:
        self.options = options
        self.credentials = credentials

    @classmethod
    def goes_by(cls) -> str:
        """The slug of its credential."""
        return cls.credential_slug or cls.slug

    @property
    def model(self) -> str:
        """What the usage record names; empty where the provider has no models."""
        return str(getattr(self.options, "model", ""))

    @classmethod
    def missing_settings(cls, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Environment names that must be set before this provider can be used."""
        if cls.key_setting and not environ.get(cls.key_setting):
            return (cls.key_setting,)
        return ()

    @classmethod
    def credentials_from(cls, environ: Mapping[str, str]) -> Credentials:
        base_url = environ.get(cls.base_url_setting, "") if cls.base_url_setting else ""
        key = environ.get(cls.key_setting, "") if cls.key_setting else ""
        return Credentials(key.strip(), (base_url.strip() or cls.default_base_url).rstrip("/"))

    @classmethod
    def own_settings(cls, own: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
        """What a workspace's own credential says, and of the environment the address at most: never its key."""
        address = {cls.base_url_setting: environ.get(cls.base_url_setting, "")} if cls.base_url_setting else {}
        return address | {name: value for name, value in own.items() if value}

    async def warm(self) -> None:
        """Import the SDK, make the client, open what can be kept open; called before the first session."""

    @abstractmethod
    async def check(self) -> None:
        """A cheap question that shows that the key works; raises ProviderError. For /ready, never in a turn."""

    async def probe(self) -> None:
        """The smallest real piece of work, which shows that turns would be served again; raises ProviderError."""
        await self.check()

    async def close(self) -> None:
        """Close clients, sockets and subprocesses."""


# -- speech to text --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of one utterance; empty when nothing was understood. `confidence` 0…1, None when not told."""

    text: str
    language: str = ""
    confidence: float | None = None


class Recognition(ABC):
    """One caller's duplex recognition: for each utterance `begin`, `send`…, `finish`, in this order.

    The worker decides where an utterance begins and ends; audio between utterances is not sent.
    Open with `async with`. Any method may raise ProviderError, after which the object is only closed.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def begin(self) -> None:
        """An utterance starts. What an earlier, abandoned one left behind is dropped."""

    @abstractmethod
    async def send(self, pcm: bytes) -> None:
        """Audio of the utterance: s16le mono at the rate given to `open`, in chunks of 20 ms to some seconds."""

    @abstractmethod
    async def finish(self) -> Transcript:
        """The utterance is over: wait for its whole text. The runner holds the deadline."""

    async def close(self) -> None:
        """Close the socket; must be safe at any time and more than once."""


class Recognizer(Connector):
    role = Role.STT

    @classmethod
    def sentences(cls, options: AnyOptions) -> tuple[str, ...]:
        """One of each kind, where with these options it understands a few sentences only; else nothing."""
        return ()

    tells_as_it_hears: ClassVar[bool] = False
    """It says something at least every second while audio comes in: silence of some seconds is a failure."""

    @abstractmethod
    def open(self, rate: int, on_interim: Callable[[str], None]) -> Recognition:
        """`on_interim` takes the utterance's whole text so far, whenever the provider says anything of it."""

    async def probe(self) -> None:
        """A second of silence: that nothing is understood is a good answer."""
        async with self.open(PROBE_RATE, lambda text: None) as recognition:
            await recognition.begin()
            await recognition.send(bytes(2 * PROBE_RATE))
            await recognition.finish()


# -- language model --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for. `parameters` is a JSON Schema of type object."""

    name: str
    """Letters, digits, `_` and `-`, 64 at most: what all providers take."""
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model asks for, once all of it has come and its arguments are a valid JSON object."""

    id: str
    """Given by the provider; made up where it gives none, so that results can be told apart."""
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    """`system`, `user`, `assistant`, or `tool` for the result of a call."""
    content: str
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant's message: what it asked for."""
    call: ToolCall | None = None
    """Of a tool's message: the call that its content answers."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The provider's explicit end of an answer. Token counts are 0 where it does not tell.

    `reason` is `stop`, `length`, `tools`, `filtered`, or the provider's own word for another one.
    """

    reason: str = "stop"
    input_tokens: int = 0
    output_tokens: int = 0


CONTINUE = "Your last message broke off here. Go on right after its last word: repeat nothing, and do not mention this."


def as_asked(messages: Sequence[Message]) -> Sequence[Message]:
    """Messages that end with words of the assistant want them continued, for which not all providers have a way."""
    is_cut = messages and messages[-1].role == "assistant" and not messages[-1].calls
    return (*messages, Message("user", CONTINUE)) if is_cut else messages


Said = str | ToolCall | Finished
PROBE_MESSAGES = (Message("user", "Say yes."),)


class LanguageModel(Connector):
    role = Role.LLM

    @abstractmethod
    def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncIterator[Said]:
        """Text as it comes and the calls that are complete, then one Finished. Nothing is said while a call comes in
        parts: then each is told of by an empty text.

        Where the last message is the assistant's, its text is to be gone on with (see `as_asked`).

        An end without the provider's own end mark, and a call whose arguments are no JSON object, are
        ErrorKind.BROKEN. Closing the iterator early cancels the request.
        """

    async def probe(self) -> None:
        """The first token of a one-word answer."""
        async with aclosing(cast(AsyncGenerator[Said, None], self.reply(PROBE_MESSAGES))) as items:
            async for _ in items:
                return
        raise ProviderError(ErrorKind.EMPTY, f"{self.label} answered nothing")


# -- text to speech --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spoken:
    """Where a word ends, told by providers that align: after `samples` of the sentence, `characters` of its text.

    It may come before or after the audio that it is about.
    """

    characters: int
    samples: int


class Speech(ABC):
    """One agent's voice in one session. Open with `async with`.

    A sentence that failed does not end the Speech: the next one is asked for as usual.
    """

    rate: int
    """The rate of the samples that `speak` yields: the asked one where the provider can, else its own."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    def speak(self, text: str) -> AsyncIterator[bytes | Spoken]:
        """s16le mono of one sentence, in chunks of whole samples as they come, and its word ends where they are told.

        An end with no audio is ErrorKind.EMPTY, one without the provider's end mark BROKEN. The next sentence may be
        asked for while this one streams. Closing the iterator early cancels it at the provider.
        """

    async def close(self) -> None:
        """Close the socket; must be safe at any time and more than once."""


class Voice(Connector):
    role = Role.TTS

    @abstractmethod
    def open(self, rate: int) -> Speech: ...

    async def probe(self) -> None:
        """The first audio of one word."""
        async with (
            self.open(PROBE_RATE) as speech,
            aclosing(cast(AsyncGenerator[bytes | Spoken, None], speech.speak("Yes."))) as pieces,
        ):
            async for piece in pieces:
                if not isinstance(piece, Spoken):
                    return
        raise ProviderError(ErrorKind.EMPTY, f"{self.label} sent no audio")


# -- transport -------------------------------------------------------------------------------------------


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
