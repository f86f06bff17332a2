"""Speech to text."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self

from connectors_app.base.connector import PROBE_RATE, AnyOptions, Connector, Role


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
