"""A scripted stand-in for a language model: it books an appointment, without a key or a network, and is no AI."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar

from pydantic import Field

from connectors_app.base.connector import Options
from connectors_app.base.language_model import Finished, LanguageModel, Message, Said, Tool
from connectors_app.providers.offline.appointment import answer

_TOKEN = re.compile(r"\S+\s*")


class ScriptOptions(Options):
    delay_ms: int = Field(0, ge=0, le=2000, description="Milliseconds before each word, as if it had to be thought of")


class Script(LanguageModel):
    slug = "script"
    label = "Scripted demo model: it follows a fixed script, it is not an AI"
    Options: ClassVar[type[Options]] = ScriptOptions
    options: ScriptOptions

    async def check(self) -> None:
        """There is nothing that could be wrong."""

    async def reply(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> AsyncGenerator[Said, None]:
        """The same conversation has the same answer, so one that was broken off goes on where it stopped."""
        text = answer([message.content for message in messages if message.role == "user"])
        if len(messages) > 1 and messages[-1].role == "assistant":
            text = text.removeprefix(messages[-1].content).lstrip()
        for token in _TOKEN.findall(text):
            await asyncio.sleep(self.options.delay_ms / 1000)
            yield token
        yield Finished()
