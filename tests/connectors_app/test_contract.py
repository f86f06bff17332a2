"""The contract of every provider in the folder, local ones included; those with a wire against stand-ins."""

import asyncio
from contextlib import aclosing

import pytest

from connectors_app import registry
from connectors_app.base.connector import Role
from connectors_app.base.errors import ErrorKind, ProviderError
from connectors_app.base.language_model import Finished
from connectors_app.base.recognizer import Transcript
from connectors_app.base.voice import Spoken
from tests.connectors_app.cases import (
    ALL,
    MODELS,
    RECOGNIZERS,
    VOICES,
    WIRED,
    all_of,
    on_wire,
)
from tests.connectors_app.conftest import QUESTION
from tests.connectors_app.turns import HELLO, SENTENCE, is_local, ready, reply_of, speech_of, transcript_of, used
from tests.providers.brain import reply_for
from tests.providers.routes import Case, Kind, Turn
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.providers.tones import decode, is_exact

# -- declarations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "slug"), [(role, slug) for role in Role for slug in registry.names(role)])
def test_every_provider_is_in_the_contract(role: Role, slug: str) -> None:
    assert any((case.role, case.slug) == (role, slug) for case in all_of(role)), (
        f"{role} {slug} has a key or an address: a stand-in in tests/providers/ must declare its TURNS"
    )


@ALL
def test_every_option_is_described(case: Case) -> None:
    cls = registry.get(case.role, case.slug)
    assert cls.label
    assert all(field.description for field in cls.Options.model_fields.values())


@WIRED
def test_a_wired_provider_says_what_it_needs(turn: Turn) -> None:
    cls = registry.get(turn.role, turn.slug)
    assert cls.base_url_setting and (cls.missing_settings({}) or not cls.key_setting)


@ALL
def test_all_roles_declare_the_same_settings(case: Case) -> None:
    """A workspace has one credential for all that go by it. What works on this machine is its operator's to set up."""
    cls = registry.get(case.role, case.slug)
    credential = registry.with_credentials().get(cls.goes_by())
    names = ["key_setting", "base_url_setting", "default_base_url", "more_settings"]
    names += ["label"] if case.slug == cls.goes_by() else []
    assert credential is not None or is_local(case.role, case.slug) or not cls.missing_settings({})
    assert credential is None or [getattr(credential, name) for name in names] == [getattr(cls, name) for name in names]


@pytest.mark.parametrize("slug", registry.with_credentials())
def test_a_credential_is_of_a_provider_of_its_name(slug: str) -> None:
    assert registry.with_credentials()[slug].slug == slug


@pytest.mark.parametrize("slug", registry.with_credentials())
def test_declared_settings_are_all_a_provider_needs(slug: str) -> None:
    cls = registry.with_credentials()[slug]
    declared = {cls.key_setting, cls.base_url_setting, *(setting.name for setting in cls.more_settings)}
    assert not cls.missing_settings(dict.fromkeys(declared, "given"))


@ALL
async def test_a_good_key_passes_the_check(case: Case, environ: dict[str, str]) -> None:
    async with ready(case, environ) as connector:
        await connector.warm()
        await connector.check()


@pytest.mark.parametrize(
    "turn", [turn for turn in on_wire(*Role) if registry.get(turn.role, turn.slug).key_setting], ids=str
)
async def test_a_bad_key_fails_the_check(turn: Turn, environ: dict[str, str]) -> None:
    key = registry.get(turn.role, turn.slug).key_setting
    async with ready(turn, {**environ, key: turn.bad_key}) as connector:
        with pytest.raises(ProviderError, match=key) as caught:
            await connector.check()
    assert caught.value.kind is ErrorKind.AUTH and turn.bad_key not in str(caught.value)


@ALL
async def test_a_healthy_one_passes_the_probe(case: Case, environ: dict[str, str]) -> None:
    async with ready(case, environ) as connector:
        await connector.probe()


@pytest.mark.parametrize(("status", "kind"), [(401, ErrorKind.AUTH), (503, ErrorKind.SERVER)])
@WIRED
async def test_a_failing_one_fails_the_probe(
    turn: Turn, status: int, kind: ErrorKind, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(turn.asked, Behaviour(fault=Fault.REFUSE, status=status))
    async with ready(turn, environ) as connector:
        with pytest.raises(ProviderError) as caught:
            await connector.probe()
    assert caught.value.kind is kind


# -- what works ------------------------------------------------------------------------------------------


@MODELS
async def test_a_reply_is_text_then_an_end(case: Case, environ: dict[str, str]) -> None:
    async with ready(case, environ) as model:
        *texts, end = await reply_of(model)
    assert texts and all(isinstance(text, str) and text for text in texts) and isinstance(end, Finished)
    if isinstance(case, Turn):
        assert "".join(map(str, texts)) == reply_for(QUESTION) and end.output_tokens > 5 < end.input_tokens


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000])
@VOICES
async def test_speech_is_whole_at_its_rate(case: Case, rate: int, environ: dict[str, str]) -> None:
    async with ready(case, environ) as voice:
        pcm, own_rate = await speech_of(voice, rate)
    assert len(pcm) > own_rate / 10 and len(pcm) % 2 == 0
    if isinstance(case, Turn):
        assert is_exact(SENTENCE, decode(pcm, own_rate))


@VOICES
async def test_sentences_may_overlap(case: Case, environ: dict[str, str]) -> None:
    async with ready(case, environ) as voice, voice.open(8000) as speech:
        both = [speech.speak("The first one."), speech.speak("And the second one.")]
        pieces = [[await anext(one)] for one in both]
        for heard, rest in zip(pieces, both, strict=True):
            heard += [piece async for piece in rest]
    assert all(sum(len(piece) for piece in heard if not isinstance(piece, Spoken)) > 1000 for heard in pieces)


@VOICES
async def test_a_cancelled_sentence_leaves_the_next(case: Case, environ: dict[str, str]) -> None:
    async with ready(case, environ) as voice, voice.open(8000) as speech:
        for _ in range(12):
            async with aclosing(speech.speak("This one is broken off in the middle of it.")) as pieces:
                assert await anext(pieces)
        assert [pcm async for pcm in speech.speak(SENTENCE)]


@RECOGNIZERS
async def test_an_utterance_becomes_a_transcript(case: Case, environ: dict[str, str], question: bytes) -> None:
    async with ready(case, environ) as recognizer:
        transcript = await transcript_of(recognizer, question)
    assert isinstance(transcript, Transcript)
    if isinstance(case, Turn):
        assert transcript.text == QUESTION


@RECOGNIZERS
async def test_an_utterance_without_audio_is_empty(case: Case, environ: dict[str, str]) -> None:
    async with ready(case, environ) as recognizer:
        assert (await transcript_of(recognizer, b"")).text == ""


@RECOGNIZERS
async def test_an_abandoned_utterance_is_dropped(case: Case, environ: dict[str, str], question: bytes) -> None:
    async with ready(case, environ) as recognizer, recognizer.open(8000, lambda text: None) as recognition:
        for pcm in (question, bytes(8000)):
            await recognition.begin()
            await recognition.send(pcm)
        assert (await recognition.finish()).text == ""


@RECOGNIZERS
async def test_utterances_follow_each_other(case: Case, environ: dict[str, str], question: bytes) -> None:
    async with ready(case, environ) as recognizer, recognizer.open(8000, lambda text: None) as recognition:
        texts = []
        for _ in range(3):
            await recognition.begin()
            await recognition.send(question)
            texts.append((await recognition.finish()).text)
    assert texts == [QUESTION] * 3 if isinstance(case, Turn) else len(texts) == 3


@pytest.mark.parametrize("case", all_of(Role.STT, Role.TTS), ids=str)
async def test_closing_twice_is_safe(case: Case, environ: dict[str, str]) -> None:
    async with ready(case, environ) as connector:
        arguments = (8000, lambda text: None) if case.role is Role.STT else (8000,)
        async with connector.open(*arguments) as opened:
            await opened.close()


# -- what fails ------------------------------------------------------------------------------------------


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
@WIRED
async def test_every_refusal_has_its_kind(
    turn: Turn, status: int, kind: ErrorKind, environ: dict[str, str], stand_ins: StandIns, question: bytes
) -> None:
    stand_ins.steer(turn.asked, Behaviour(fault=Fault.REFUSE, status=status, retry_after=7))
    async with ready(turn, environ) as connector:
        with pytest.raises(ProviderError) as caught:
            await used(connector, question)
    assert (caught.value.kind, caught.value.status, caught.value.retry_after) == (kind, status, 7)
    key = connector.credentials.api_key
    assert not key or key not in str(caught.value)


def breaks(turn: Turn) -> tuple[Fault, ...]:
    """Raw samples have no end mark and are never unreadable."""
    return (Fault.CUT,) if turn.answered.kind is Kind.RAW_VOICE else (Fault.CUT, Fault.END, Fault.GARBAGE)


@pytest.mark.parametrize(
    ("turn", "fault"), [(turn, fault) for turn in on_wire(Role.TTS) for fault in breaks(turn)], ids=str
)
async def test_speech_without_its_end_is_broken(
    turn: Turn, fault: Fault, environ: dict[str, str], stand_ins: StandIns
) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=fault, after=1))
    async with ready(turn, environ) as voice:
        with pytest.raises(ProviderError) as caught:
            await speech_of(voice)
    assert caught.value.kind is ErrorKind.BROKEN


@pytest.mark.parametrize("turn", [turn for turn in on_wire(Role.TTS) if turn.tells_nothing], ids=str)
async def test_speech_without_audio_is_empty(turn: Turn, environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=Fault.EMPTY))
    async with ready(turn, environ) as voice:
        with pytest.raises(ProviderError) as caught:
            await speech_of(voice)
    assert caught.value.kind is ErrorKind.EMPTY


@pytest.mark.parametrize("turn", on_wire(Role.LLM, Role.TTS), ids=str)
async def test_closing_early_cancels_at_the_provider(turn: Turn, environ: dict[str, str], stand_ins: StandIns) -> None:
    stand_ins.steer(turn.answered, Behaviour(fault=Fault.STALL, after=1))
    async with ready(turn, environ) as connector:
        items = connector.reply(HELLO) if turn.role is Role.LLM else connector.open(8000).speak(SENTENCE)
        assert await anext(items)
        async with asyncio.timeout(1):
            await items.aclose()
