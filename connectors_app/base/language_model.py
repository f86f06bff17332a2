"""Language models."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from connectors_app.base.connector import Connector, Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.model_names import ModelNames


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


def system_prompt(messages: Sequence[Message]) -> str:
    """For providers where it has its own place."""
    return "\n\n".join(message.content for message in messages if message.role == "system" and message.content)


def spoken(messages: Sequence[Message]) -> Sequence[Message]:
    """All but the system prompt, for providers that refuse an empty message; `as_asked`."""
    asked = as_asked([one for one in messages if one.content.strip() or one.calls or one.call])
    return [message for message in asked if message.role != "system"]


Said = str | ToolCall | Finished
PROBE_MESSAGES = (Message("user", "Say yes."),)


class LanguageModel(Connector):
    role = Role.LLM
    known_models: ClassVar[ModelNames] = ModelNames()

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
