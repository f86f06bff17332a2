"""Self-routing on the whole system: the flow of a session's document decides who hears, answers and speaks."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from mesh import subjects
from mesh.bus.client import Bus
from mesh.events import Played, ReplySentence, TranscriptFinal, TurnEnded
from mesh.subjects import Stage
from tests import speech
from tests.callers import WebsocketCaller
from tests.e2e.conversations import ask, happened, say, web
from tests.providers import tones
from tests.providers.anthropic import ANTHROPIC_MESSAGES
from tests.providers.brain import reply_for
from tests.providers.openai import OPENAI_CHAT, OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS
from tests.providers.routes import Route
from tests.unsupervised import VOICE_LOOP, System, document

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="package")]

LIVE_CAPTIONS = ("transport stt audio", "stt transport text")
TEXT_CHAT = ("transport llm text", "llm transport text")
ANNOUNCER = ("transport tts text", "tts transport audio")
REVOICING = ("transport stt audio", "stt tts text", "tts transport audio")
QUESTIONS = sorted(speech.UTTERANCES, key=lambda text: len(speech.speak(text)))
"""The shortest first, for tests take as long as the callers speak."""


def typed() -> str:
    """A question that nobody has asked before, so that its requests are told from others."""
    return f"Question {uuid4().hex[:8]} please"


async def requests(system: System, route: Route, text: str) -> list[dict[str, Any]]:
    """What a stand-in was asked with these words in it."""
    return [one for one in await system.standins.requests_to(route) if text in one["text"]]


async def told(caller: WebsocketCaller, question: str) -> list[str]:
    """Wait for the end of the answer to a question; all the agent has told so far, sentence by sentence."""
    await caller.until("reply", text=tones.sentences(reply_for(question))[-1])
    return [one["text"] for one in caller.told if one["type"] == "reply"]


async def cast(bus: Bus, session: str) -> set[Stage]:
    """The stages that workers were given."""
    return {stage for stage in (Stage.STT, Stage.LLM, Stage.TTS) if await bus.last_fence(session, stage)}


# -- flows -----------------------------------------------------------------------------------------------


@pytest.mark.accepts("M43", "M44")
async def test_live_captions_need_only_recognition(system: System, bus: Bus) -> None:
    async with await web(system, document(flow=LIVE_CAPTIONS)) as caller:
        for utterance, text in enumerate(QUESTIONS[:2], 1):
            await say(caller, text)
            await caller.until("transcript", final=True, utterance=utterance, text=text)
        assert await cast(bus, caller.session) == {Stage.STT}
        assert caller.speaker.pieces == []
        assert not await happened(bus, caller.session, TurnEnded)


@pytest.mark.accepts("M43")
async def test_text_chat_needs_only_a_model(system: System, bus: Bus) -> None:
    first, second = typed(), typed()
    async with await web(system, document(flow=TEXT_CHAT)) as caller:
        await caller.type(first)
        await told(caller, first)
        await caller.type(second)
        assert " ".join(await told(caller, second)) == f"{reply_for(first)} {reply_for(second)}"
        assert await cast(bus, caller.session) == {Stage.LLM}
        assert caller.speaker.pieces == []
    [asked] = await requests(system, OPENAI_CHAT, second)
    roles = [(message["role"], message["content"]) for message in asked["body"]["messages"][1:]]
    assert roles == [("user", first), ("assistant", reply_for(first)), ("user", second)]


@pytest.mark.accepts("M43")
async def test_an_announcer_speaks_what_is_typed(system: System, bus: Bus) -> None:
    text = "The shop closes in ten minutes. Thank you for your visit."
    async with await web(system, document(flow=ANNOUNCER)) as caller:
        await caller.type(text)
        await caller.reply(text)
        assert await cast(bus, caller.session) == {Stage.TTS}
    assert await requests(system, OPENAI_CHAT, text) == []


@pytest.mark.accepts("M43")
async def test_a_captioned_call_is_answered_too(system: System) -> None:
    async with await web(system, document(flow=(*VOICE_LOOP, "stt transport text"))) as caller:
        await ask(caller, QUESTIONS[2])
        await caller.until("transcript", final=True, text=QUESTIONS[2])


@pytest.mark.accepts("M43", "M44")
async def test_the_order_of_steps_is_free(system: System) -> None:
    async with await web(system, document(flow=VOICE_LOOP[::-1])) as caller:
        await ask(caller, QUESTIONS[3])


@pytest.mark.accepts("M43")
async def test_words_are_said_again_in_another_voice(system: System, bus: Bus) -> None:
    async with await web(system, document(flow=REVOICING)) as caller:
        await ask(caller, QUESTIONS[4], answer=QUESTIONS[4])
        assert await cast(bus, caller.session) == {Stage.STT, Stage.TTS}


@pytest.mark.accepts("M43")
async def test_speech_is_captioned_and_typing_answered(system: System, bus: Bus) -> None:
    question = typed()
    async with await web(system, document(flow=(*LIVE_CAPTIONS, "transport llm text", *VOICE_LOOP[2:]))) as caller:
        await say(caller, QUESTIONS[6])
        await caller.until("transcript", final=True, text=QUESTIONS[6])
        await caller.type(question)
        await caller.reply(reply_for(question))
        assert [turn.text for turn in await happened(bus, caller.session, TurnEnded)] == [question]


async def test_typing_is_answered_in_a_voice_loop(system: System) -> None:
    question = typed()
    async with await web(system) as caller:
        await caller.type(question)
        await caller.reply(reply_for(question))


@pytest.mark.accepts("M54")
async def test_providers_are_exchanged_by_name(system: System) -> None:
    config = document()
    config["connectors"]["llm"] = {"primary": "anthropic", "config": {}}
    config["connectors"]["stt"] = {"primary": "openai", "config": {"openai": {"model": "whisper-1"}}}
    config["connectors"]["tts"] = {"primary": "openai", "config": {"openai": {"voice": "alloy"}}}
    async with await web(system, config) as caller:
        await ask(caller, QUESTIONS[8])
    assert await requests(system, ANTHROPIC_MESSAGES, QUESTIONS[8])
    assert await requests(system, OPENAI_TRANSCRIPTIONS, QUESTIONS[8])
    assert await requests(system, OPENAI_SPEECH, reply_for(QUESTIONS[8]).split(". ")[0])


# -- one turn, hop by hop --------------------------------------------------------------------------------


@pytest.mark.accepts("M47", "M87")
async def test_a_turn_passes_five_hops_in_order(system: System, bus: Bus) -> None:
    hops: list[str] = []

    def pass_by(subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        name = ".".join(subject.split(".")[-3:-1])
        if name not in hops:
            hops.append(name)

    async with await web(system) as caller:
        names = (subjects.audio_input, subjects.tts_output)
        canonical = (subjects.live(subjects.canonical(stage, caller.session)) for stage in (Stage.STT, Stage.LLM))
        watched = [*(name(caller.session) for name in names), *canonical]
        spectators = [await bus.subscribe(subject, pass_by) for subject in watched]
        await ask(caller, QUESTIONS[9])
        story = await bus.history(caller.session)
        for spectator in spectators:
            await spectator.close()
    assert hops == ["audio.input", "stt.output", "llm.output", "tts.output"]
    steps = [one.type for one in story if isinstance(one.event, TranscriptFinal | TurnEnded | ReplySentence | Played)]
    assert list(dict.fromkeys(steps)) == ["transcript.final", "turn.ended", "reply.sentence", "played"]


@pytest.mark.accepts("M49")
async def test_model_workers_share_the_sessions(system: System, bus: Bus) -> None:
    """Six chats on two workers: each has some, and no question is asked or answered twice."""
    questions = [typed() for _ in range(6)]

    async def chat(question: str) -> str:
        async with await web(system, document(flow=TEXT_CHAT)) as caller:
            await caller.type(question)
            assert " ".join(await told(caller, question)) == reply_for(question)
            await everybody.wait()
            fence = await bus.last_fence(caller.session, Stage.LLM)
            assert fence and [turn.text for turn in await happened(bus, caller.session, TurnEnded)] == [question]
            return str(getattr(fence.event, "owner", ""))

    everybody = asyncio.Barrier(len(questions))
    owners = await asyncio.gather(*map(chat, questions))
    assert len(set(owners)) == 2
    for question in questions:
        assert len(await requests(system, OPENAI_CHAT, question)) == 1
