"""How end-to-end tests talk: callers by both transports, questions with their exact answers, and a session's events."""

from collections.abc import Mapping
from typing import Any, TypeVar

from mesh.bus import Bus
from mesh.events import Event, SessionEnded
from tests import speech
from tests.callers import Caller, TelephoneCaller, WebsocketCaller
from tests.providers.brain import reply_for
from tests.unsupervised import System, document

E = TypeVar("E", bound=Event)
STORY = "Please tell me a long story about the sea."
SHORT_STORY = [text for text in speech.UTTERANCES if text != STORY]


def telephone(system: System, agent: str = "desk") -> TelephoneCaller:
    return TelephoneCaller(system.client, system.url, agent=agent)


async def web(
    system: System, config: Mapping[str, Any] | None = None, *, rate: int = 16_000, reports: bool = True
) -> WebsocketCaller:
    """A caller with a session of its own."""
    made = await system.create(config or document())
    caller = WebsocketCaller(system.client, made["room_url"], made["token"], rate=rate, reports=reports)
    caller.session = made["session_id"]
    return caller


async def say(caller: Caller, text: str) -> None:
    await caller.say(speech.speak(text, caller.rate))


async def ask(caller: Caller, text: str, *, answer: str = "", seconds: float = 20.0) -> float:
    """Say it and hear the whole answer, once and in order; returns the seconds between them."""
    await say(caller, text)
    voiced = caller.last_voiced
    return await caller.reply(answer or reply_for(text), since=voiced, seconds=seconds) - voiced


async def happened(bus: Bus, session: str, kind: type[E]) -> list[E]:
    """A session's events of one kind so far."""
    return [stored.event for stored in await bus.history(session) if isinstance(stored.event, kind)]
