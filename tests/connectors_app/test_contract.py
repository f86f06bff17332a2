"""The contract of every provider in the folder, offline ones included; those with a wire against stand-ins."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from connectors_app import registry
from connectors_app.base import ErrorKind, Finished, ProviderError, Role, Transcript
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.turns import HELLO, SENTENCE, made, reply_of, speech_of, transcript_of, used
from tests.providers.brain import reply_for
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault, Route
from tests.providers.tones import decode, is_exact

ASKED = {
    (Role.STT, "openai"): Route.OPENAI_TRANSCRIPTIONS,
    (Role.STT, "custom"): Route.OPENAI_TRANSCRIPTIONS,
    (Role.STT, "deepgram"): Route.DEEPGRAM_CONNECT,
    (Role.LLM, "openai"): Route.OPENAI_CHAT,
    (Role.LLM, "custom"): Route.OPENAI_CHAT,
    (Role.LLM, "anthropic"): Route.ANTHROPIC_MESSAGES,
    (Role.TTS, "openai"): Route.OPENAI_SPEECH,
    (Role.TTS, "custom"): Route.OPENAI_SPEECH,
    (Role.TTS, "elevenlabs"): Route.ELEVENLABS_CONNECT,
    (Role.TTS, "azure"): Route.AZURE_SPEECH,
}
"""Where the stand-ins meet a provider's first request of a turn."""
ANSWERED = {**ASKED, (Role.STT, "deepgram"): Route.DEEPGRAM_LISTEN, (Role.TTS, "elevenlabs"): Route.ELEVENLABS_SPEAK}


def all_of(*roles: Role) -> list[tuple[Role, str]]:
    return [(role, slug) for role in roles for slug in registry.names(role)]


def on_wire(*roles: Role) -> list[tuple[Role, str]]:
    return [one for one in ASKED if one[0] in roles]


# -- declarations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "slug"), all_of(*Role))
def test_every_option_is_described(role: Role, slug: str) -> None:
    cls = registry.get(role, slug)
    assert cls.label
    assert all(field.description for field in cls.Options.model_fields.values())


@pytest.mark.parametrize(("role", "slug"), on_wire(*Role))
def test_a_wired_provider_says_what_it_needs(role: Role, slug: str) -> None:
    cls = registry.get(role, slug)
    assert cls.missing_settings({}) and cls.base_url_setting


@pytest.mark.parametrize(("role", "slug"), all_of(*Role))
def test_all_roles_declare_the_same_settings(role: Role, slug: str) -> None:
    """A workspace has one credential for all of them."""
    cls = registry.get(role, slug)
    credential = registry.with_credentials().get(slug)
    names = ("key_setting", "base_url_setting", "default_base_url", "more_settings", "label")
    assert credential is not None or not cls.missing_settings({})
    assert credential is None or [getattr(credential, name) for name in names] == [getattr(cls, name) for name in names]


@pytest.mark.parametrize("slug", registry.with_credentials())
def test_declared_settings_are_all_a_provider_needs(slug: str) -> None:
    cls = registry.with_credentials()[slug]
    declared = {cls.key_setting, cls.base_url_setting, *(setting.name for setting in cls.more_settings)}
    assert not cls.missing_settings(dict.fromkeys(declared, "given"))


@pytest.mark.parametrize(("role", "slug"), all_of(*Role))
async def test_a_good_key_passes_the_check(role: Role, slug: str, environ: dict[str, str]) -> None:
    async with made(role, slug, environ) as connector:
        await connector.warm()
        await connector.check()


@pytest.mark.parametrize(("role", "slug"), on_wire(*Role))
async def test_a_bad_key_fails_the_check(role: Role, slug: str, environ: dict[str, str]) -> None:
    key = registry.get(role, slug).key_setting
    async with made(role, slug, {**environ, key: "revoked"}) as connector:
        with pytest.raises(ProviderError, match=key) as caught:
            await connector.check()
    assert caught.value.kind is ErrorKind.AUTH and "revoked" not in str(caught.value)


# -- what works ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "slug"), all_of(Role.LLM))
async def test_a_reply_is_text_then_an_end(role: Role, slug: str, environ: dict[str, str]) -> None:
    async with made(role, slug, environ) as model:
        *texts, end = await reply_of(model)
    assert texts and all(isinstance(text, str) and text for text in texts) and isinstance(end, Finished)
    if (role, slug) in ASKED:
        assert "".join(map(str, texts)) == reply_for(QUESTION) and end.output_tokens > 5 < end.input_tokens


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
@pytest.mark.parametrize(("role", "slug"), all_of(Role.TTS))
async def test_speech_is_whole_at_its_rate(role: Role, slug: str, rate: int, environ: dict[str, str]) -> None:
    async with made(role, slug, environ) as voice:
        pcm, own_rate = await speech_of(voice, rate)
    assert len(pcm) > own_rate / 10 and len(pcm) % 2 == 0
    if (role, slug) in ASKED:
        assert is_exact(SENTENCE, decode(pcm, own_rate))


@pytest.mark.parametrize(("role", "slug"), all_of(Role.TTS))
async def test_sentences_may_overlap(role: Role, slug: str, environ: dict[str, str]) -> None:
    async with made(role, slug, environ) as voice, voice.open(8000) as speech:
        both = [speech.speak("The first one."), speech.speak("And the second one.")]
        first = [await anext(one) for one in both]
        rest = [b"".join([pcm async for pcm in one]) for one in both]
    assert all(first) and all(len(a + b) > 1000 for a, b in zip(first, rest, strict=True))


@pytest.mark.parametrize(("role", "slug"), all_of(Role.TTS))
async def test_a_cancelled_sentence_leaves_the_next(role: Role, slug: str, environ: dict[str, str]) -> None:
    async with made(role, slug, environ) as voice, voice.open(8000) as speech:
        for _ in range(12):
            async with aclosing(speech.speak("This one is broken off in the middle of it.")) as pieces:
                assert await anext(pieces)
        assert b"".join([pcm async for pcm in speech.speak(SENTENCE)])


@pytest.mark.parametrize(("role", "slug"), all_of(Role.STT))
async def test_an_utterance_becomes_a_transcript(
    role: Role, slug: str, environ: dict[str, str], question: bytes
) -> None:
    async with made(role, slug, environ) as recognizer:
        transcript = await transcript_of(recognizer, question)
    assert isinstance(transcript, Transcript)
    if (role, slug) in ASKED:
        assert transcript.text == QUESTION


@pytest.mark.parametrize(("role", "slug"), all_of(Role.STT))
async def test_an_utterance_without_audio_is_empty(role: Role, slug: str, environ: dict[str, str]) -> None:
    async with made(role, slug, environ) as recognizer:
        assert (await transcript_of(recognizer, b"")).text == ""


@pytest.mark.parametrize(("role", "slug"), all_of(Role.STT))
async def test_an_abandoned_utterance_is_dropped(
    role: Role, slug: str, environ: dict[str, str], question: bytes
) -> None:
    async with made(role, slug, environ) as recognizer, recognizer.open(8000, lambda text: None) as recognition:
        for pcm in (question, bytes(8000)):
            await recognition.begin()
            await recognition.send(pcm)
        assert (await recognition.finish()).text == ""


@pytest.mark.parametrize(("role", "slug"), all_of(Role.STT))
async def test_utterances_follow_each_other(role: Role, slug: str, environ: dict[str, str], question: bytes) -> None:
    async with made(role, slug, environ) as recognizer, recognizer.open(8000, lambda text: None) as recognition:
        texts = []
        for _ in range(3):
            await recognition.begin()
            await recognition.send(question)
            texts.append((await recognition.finish()).text)
    assert texts == [QUESTION] * 3 if (role, slug) in ASKED else len(texts) == 3


@pytest.mark.parametrize(("role", "slug"), all_of(Role.STT, Role.TTS))
async def test_closing_twice_is_safe(role: Role, slug: str, environ: dict[str, str]) -> None:
    async with made(role, slug, environ) as connector:
        arguments = (8000, lambda text: None) if role is Role.STT else (8000,)
        async with connector.open(*arguments) as opened:
            await opened.close()


# -- what fails ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "slug"), on_wire(*Role))
async def test_nobody_there_is_refused(role: Role, slug: str, environ: dict[str, str], question: bytes) -> None:
    nowhere = {registry.get(role, slug).base_url_setting: "http://127.0.0.1:9"}
    async with made(role, slug, {**environ, **nowhere}) as connector:
        with pytest.raises(ProviderError, match="no connection") as caught:
            await used(connector, question)
    assert caught.value.kind is ErrorKind.REFUSED


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ErrorKind.REQUEST),
        (401, ErrorKind.AUTH),
        (402, ErrorKind.QUOTA),
        (403, ErrorKind.AUTH),
        (429, ErrorKind.RATE_LIMIT),
        (500, ErrorKind.SERVER),
        (503, ErrorKind.SERVER),
    ],
)
@pytest.mark.parametrize(("role", "slug"), on_wire(*Role))
async def test_every_refusal_has_its_kind(
    role: Role, slug: str, status: int, kind: ErrorKind, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(ASKED[role, slug], Behaviour(fault=Fault.REFUSE, status=status, retry_after=7))
    async with made(role, slug, environ) as connector:
        with pytest.raises(ProviderError) as caught:
            await used(connector, question)
    assert (caught.value.kind, caught.value.status, caught.value.retry_after) == (kind, status, 7)
    assert connector.credentials.api_key not in str(caught.value)


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.END, Fault.GARBAGE])
@pytest.mark.parametrize(("role", "slug"), on_wire(Role.LLM))
async def test_a_reply_without_its_end_is_broken(
    role: Role, slug: str, fault: Fault, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(ANSWERED[role, slug], Behaviour(fault=fault, after=3))
    texts: list[Any] = []
    async with made(role, slug, environ) as model:
        with pytest.raises(ProviderError) as caught:
            async for item in model.reply(HELLO):
                texts.append(item)
    assert caught.value.kind is ErrorKind.BROKEN
    assert len(texts) == 3 and reply_for(QUESTION).startswith("".join(texts))


@pytest.mark.parametrize(
    ("role", "slug", "fault"),
    [(*one, Fault.CUT) for one in on_wire(Role.TTS)]
    + [(Role.TTS, "elevenlabs", Fault.END), (Role.TTS, "elevenlabs", Fault.GARBAGE)],
)
async def test_speech_without_its_end_is_broken(
    role: Role, slug: str, fault: Fault, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(ANSWERED[role, slug], Behaviour(fault=fault, after=1))
    async with made(role, slug, environ) as voice:
        with pytest.raises(ProviderError) as caught:
            await speech_of(voice)
    assert caught.value.kind is ErrorKind.BROKEN


@pytest.mark.parametrize(("role", "slug"), [one for one in on_wire(Role.TTS) if one[1] != "elevenlabs"])
async def test_speech_without_audio_is_empty(
    role: Role, slug: str, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(ANSWERED[role, slug], Behaviour(fault=Fault.EMPTY))
    async with made(role, slug, environ) as voice:
        with pytest.raises(ProviderError) as caught:
            await speech_of(voice)
    assert caught.value.kind is ErrorKind.EMPTY


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.GARBAGE])
@pytest.mark.parametrize(("role", "slug"), on_wire(Role.STT))
async def test_a_broken_transcript_is_told(
    role: Role, slug: str, fault: Fault, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(ANSWERED[role, slug], Behaviour(fault=fault))
    async with made(role, slug, environ) as recognizer:
        with pytest.raises(ProviderError) as caught:
            await transcript_of(recognizer, question)
    assert caught.value.kind is ErrorKind.BROKEN


@pytest.mark.parametrize(("role", "slug"), on_wire(Role.LLM, Role.TTS))
async def test_closing_early_cancels_at_the_provider(
    role: Role, slug: str, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(ANSWERED[role, slug], Behaviour(fault=Fault.STALL, after=1))
    async with made(role, slug, environ) as connector:
        items = connector.reply(HELLO) if role is Role.LLM else connector.open(8000).speak(SENTENCE)
        assert await anext(items)
        async with asyncio.timeout(1):
            await items.aclose()
