"""Text to speech."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

from connectors_app.base.connector import PROBE_RATE, Connector, Role
from connectors_app.base.errors import ErrorKind, ProviderError


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
