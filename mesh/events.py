"""The canonical events of a session and their envelope, as msgspec JSON.

Additive only: a reader gets None for a type it does not know and ignores fields it does not know,
so versions N and N-1 can run side by side. Which stage writes which event stands in `docs/messages.md`.
"""

from typing import Any, Literal

import msgspec

VERSION = 1


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened. The subclass's tag is the event's type on the bus."""

    @classmethod
    def type(cls) -> str:
        tag = cls.__struct_config__.tag
        assert isinstance(tag, str)
        return tag


# -- session.events: written by the session's transport ---------------------------------------------------


class SessionCreated(Event, frozen=True, tag="session.created"):
    workspace: str
    """The workspace's slug."""
    config: dict[str, Any]
    """The configuration document as it was stored: a takeover works from it while Valkey is away."""
    revision: str
    transport: str
    agent: str = ""
    """The agent's slug; empty for a session with an inline document."""
    agent_version: int = 0
    name: str = ""
    caller: str = ""
    called: str = ""
    call_id: str = ""
    details: dict[str, Any] = {}
    credentials: dict[str, str] = {}
    """The workspace's own, sealed, by provider. No row, page or answer has them."""


class SessionLive(Event, frozen=True, tag="session.live"):
    worker: str
    rate: int


class SessionUpdated(Event, frozen=True, tag="session.updated"):
    config: dict[str, Any]
    revision: str
    credentials: dict[str, str] | None = None
    """As in `session.created`; None: as before."""


class SessionEnded(Event, frozen=True, tag="session.ended"):
    reason: str
    """`hangup`, `ended`, `time_limit`, `shutdown`, `never_connected`, `transport_lost`, or `failed`."""
    failed: bool = False
    detail: str = ""
    media_ms: int = 0
    """Length of the media clock at the end."""


class TurnStarted(Event, frozen=True, tag="turn.started"):
    turn: int
    sample: int = 0


class TurnEnded(Event, frozen=True, tag="turn.ended"):
    """The caller's whole text of a turn: the one thing that makes the agent answer.

    `revision` is a record of the configuration that the transport knew of then; nobody has to hold to it.
    """

    turn: int
    generation: int
    text: str
    cause: Literal["speech", "typed"]
    revision: str = ""
    utterances: tuple[int, ...] = ()
    """That `text` was made of; after a generation of this turn that was discarded, those that came since."""


class TurnDiscarded(Event, frozen=True, tag="turn.discarded"):
    """Nothing of this generation was heard, and nothing will be: the caller went on speaking, or said nothing."""

    turn: int
    generation: int = 0
    reason: str = ""
    failed: Literal["", "stt", "llm", "tts"] = ""
    """No provider of this role answered, so the turn has failed: nobody knows what was said."""
    utterances: tuple[int, ...] = ()
    """In which nothing was understood."""


class Played(Event, frozen=True, tag="played"):
    turn: int
    generation: int
    sentence: int
    samples: int
    rate: int
    text: str
    done: bool = True


class Interrupted(Event, frozen=True, tag="interrupted"):
    """The caller broke into `sentence`; `heard` is the part of its text that was played."""

    turn: int
    generation: int
    sentence: int
    samples: int
    rate: int
    heard: str


class Dtmf(Event, frozen=True, tag="dtmf"):
    digits: str


class Apologised(Event, frozen=True, tag="apologised"):
    """The caller begins to hear the apology, because no provider of this role could do its part of the turn."""

    turn: int
    generation: int
    role: Literal["stt", "llm", "tts"]


class TurnTimed(Event, frozen=True, tag="turn.timed"):
    """The waterfall of a turn, as far as it came, in milliseconds on the transport's clock.

    Since the caller's last voiced sample; where the turn's cause is "typed", since the text came.
    """

    turn: int
    generation: int
    marks: dict[str, int]


# -- stt.output: written by the session's stt worker ------------------------------------------------------


class SpeechStarted(Event, frozen=True, tag="speech.started"):
    utterance: int
    sample: int


class SpeechEnded(Event, frozen=True, tag="speech.ended"):
    utterance: int
    sample: int
    """The last voiced sample, not the moment of the decision."""


class TranscriptFinal(Event, frozen=True, tag="transcript.final"):
    """Exactly one for each utterance, after its `speech.ended`. Empty text: nothing was understood."""

    utterance: int
    start: int
    end: int
    text: str
    provider: str = ""
    failed: bool = False
    """No provider answered; `provider.failed` says why.

    Without a span: its worker was lost, and the audio comes again as another utterance.
    """


# -- llm.output: written by the session's llm worker ------------------------------------------------------


class ReplySentence(Event, frozen=True, tag="reply.sentence"):
    """A committed sentence. Also written on session.events by the transport, for greetings and announcements."""

    turn: int
    generation: int
    sentence: int
    text: str


class ReplyDone(Event, frozen=True, tag="reply.done"):
    turn: int
    generation: int
    sentences: int
    provider: str = ""


class ReplyFailed(Event, frozen=True, tag="reply.failed"):
    turn: int
    generation: int
    sentences: int
    detail: str


# -- tts.events: written by the session's tts worker ------------------------------------------------------


class SentenceFailed(Event, frozen=True, tag="sentence.failed"):
    """No voice could speak (the rest of) this sentence; its audio stream ends here."""

    turn: int
    generation: int
    sentence: int
    detail: str


# -- written by every worker about its providers ----------------------------------------------------------


class ProviderFailed(Event, frozen=True, tag="provider.failed"):
    role: str
    provider: str
    kind: str
    detail: str
    turn: int = 0
    generation: int = 0
    utterance: int = 0
    """Of a recogniser: the turn is made later, and names its utterances."""
    ms: int = 0


class ProviderSwitched(Event, frozen=True, tag="provider.switched"):
    role: str
    before: str
    after: str
    turn: int = 0
    generation: int = 0
    utterance: int = 0


class Usage(Event, frozen=True, tag="usage"):
    """What one provider attempt used. `micros` are millionths of the price's currency; 0 where no price is known."""

    role: str
    provider: str
    model: str
    unit: str
    """`audio_ms`, `characters`, `input_tokens` or `output_tokens`."""
    quantity: int
    estimated: bool = False
    """The provider did not tell: the attempt was broken off, or it never does."""
    turn: int = 0
    generation: int = 0
    utterance: int = 0
    micros: int = 0
    price_version: str = ""


# -- fences ----------------------------------------------------------------------------------------------


class Fence(Event, frozen=True, tag="fence"):
    """Who owns a stage of a session from here on. The stream sequence of the last fence guards every append."""

    owner: str
    epoch: int


TYPES: dict[str, type[Event]] = {cls.type(): cls for cls in Event.__subclasses__()}


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every canonical event travels in. `id` is `session:stage:epoch:n`; `at` is UTC in seconds."""

    id: str
    type: str
    session: str
    stage: str
    epoch: int
    at: float
    data: msgspec.Raw
    v: int = VERSION


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the stream holds it. `event` is None when its type is not known here."""

    sequence: int
    subject: str
    id: str
    session: str
    stage: str
    epoch: int
    at: float
    type: str
    event: Event | None


class BadEvent(ValueError):
    """The bytes are not an event envelope, or the data does not fit the event's type."""


_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(Envelope)
_decoders = {name: msgspec.json.Decoder(cls) for name, cls in TYPES.items()}


def event_id(session: str, stage: str, epoch: int, n: int) -> str:
    return f"{session}:{stage}:{epoch}:{n}"


def encode(event: Event, *, session: str, stage: str, epoch: int, n: int, at: float) -> bytes:
    envelope = Envelope(
        id=event_id(session, stage, epoch, n),
        type=event.type(),
        session=session,
        stage=stage,
        epoch=epoch,
        at=at,
        data=msgspec.Raw(msgspec.json.encode(event)),
    )
    return _encoder.encode(envelope)


def decode(data: bytes, *, sequence: int, subject: str) -> Stored:
    """Read a stored event; raises BadEvent."""
    try:
        envelope = _envelope.decode(data)
        decoder = _decoders.get(envelope.type)
        event = decoder.decode(envelope.data) if decoder else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(f"{subject} #{sequence}: {error}") from None
    return Stored(
        sequence=sequence,
        subject=subject,
        id=envelope.id,
        session=envelope.session,
        stage=envelope.stage,
        epoch=envelope.epoch,
        at=envelope.at,
        type=envelope.type,
        event=event,
    )
