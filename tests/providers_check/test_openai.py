"""The OpenAI stand-in, asked by OpenAI's SDK."""

import asyncio
import io
import wave
from typing import Any

import aiohttp
import openai
import pytest

from tests.providers import tones
from tests.providers.backstage import Outcome
from tests.providers.brain import reply_for
from tests.providers.openai import OPENAI_CHAT, OPENAI_SPEECH, OPENAI_TRANSCRIPTIONS, SPEECH_RATE
from tests.providers.standins import StandIns
from tests.providers.steering import Behaviour, Fault
from tests.speech import UTTERANCES, speak

QUESTION: Any = {"role": "user", "content": "What time do you open?"}
ANSWER = reply_for("What time do you open?")


def wav(text: str, rate: int = 16_000) -> tuple[str, bytes]:
    with io.BytesIO() as file:
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, rate, 0, "NONE", ""))
            sound.writeframes(speak(text, rate))
        return "speech.wav", file.getvalue()


async def streamed(client: Any, **options: object) -> str:
    """The text of a streamed answer, as far as it comes."""
    text = ""
    async with await client.chat.completions.create(
        model="gpt-4o-mini", messages=[QUESTION], stream=True, **options
    ) as stream:
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    return text


async def test_chat_streams_the_reply(openai_client: Any) -> None:
    stream = await openai_client.chat.completions.create(
        model="gpt-4o-mini", messages=[QUESTION], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == ANSWER
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == len(ANSWER.split())


async def test_chat_answers_whole(openai_client: Any) -> None:
    answer = await openai_client.chat.completions.create(model="gpt-4o-mini", messages=[QUESTION])
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage.total_tokens == 5 + len(ANSWER.split())


async def test_max_tokens_cuts_the_reply(openai_client: Any) -> None:
    answer = await openai_client.chat.completions.create(model="gpt-4o-mini", messages=[QUESTION], max_tokens=3)
    assert answer.choices[0].message.content == "Point one of"
    assert answer.choices[0].finish_reason == "length"


async def test_a_brain_can_be_given() -> None:
    async with (
        StandIns(brain=lambda messages: messages[0]["content"]) as standins,
        openai.AsyncOpenAI(base_url=f"{standins.url}/v1", api_key="key") as client,
    ):
        answer = await client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "system", "content": "Be brief."}, QUESTION]
        )
    assert answer.choices[0].message.content == "Be brief."


async def test_options_reach_the_record(standins: StandIns, openai_client: Any) -> None:
    await openai_client.chat.completions.create(model="gpt-4o", messages=[QUESTION], temperature=0.3, top_p=0.9)
    (recorded,) = standins.requests_to(OPENAI_CHAT)
    assert recorded.body == {"model": "gpt-4o", "messages": [QUESTION], "temperature": 0.3, "top_p": 0.9}
    assert recorded.headers["authorization"] == "Bearer key"
    assert (recorded.text, recorded.outcome) == (QUESTION["content"], Outcome.ANSWERED)


@pytest.mark.parametrize("wanted", ["json", "verbose_json"])
async def test_transcription_recognises(openai_client: Any, wanted: str) -> None:
    heard = await openai_client.audio.transcriptions.create(
        model="whisper-1", file=wav(UTTERANCES[3]), response_format=wanted
    )
    assert heard.text == UTTERANCES[3]


async def test_transcription_answers_as_text(openai_client: Any) -> None:
    heard = await openai_client.audio.transcriptions.create(
        model="whisper-1", file=wav(UTTERANCES[4], 24_000), response_format="text"
    )
    assert heard == f"{UTTERANCES[4]}\n"


async def test_transcription_streams_deltas(openai_client: Any) -> None:
    stream = await openai_client.audio.transcriptions.create(
        model="gpt-4o-mini-transcribe", file=wav(UTTERANCES[4]), stream=True
    )
    events = [event async for event in stream]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == UTTERANCES[4]


async def test_transcription_records_the_form(standins: StandIns, openai_client: Any) -> None:
    await openai_client.audio.transcriptions.create(
        model="whisper-1", file=wav(UTTERANCES[4]), language="en", prompt="A hotel."
    )
    (recorded,) = standins.requests_to(OPENAI_TRANSCRIPTIONS)
    assert (recorded.body["language"], recorded.body["prompt"]) == ("en", "A hotel.")
    assert recorded.body["file"]["filename"] == "speech.wav"
    assert recorded.text == UTTERANCES[4]


async def test_what_is_no_wav_is_refused(openai_client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="Invalid file format"):
        await openai_client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"nothing"))


async def test_speech_says_its_text(openai_client: Any) -> None:
    pieces = []
    async with openai_client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=ANSWER, response_format="pcm"
    ) as response:
        pieces += [piece async for piece in response.iter_bytes()]
    assert tones.is_exact(ANSWER, tones.decode(b"".join(pieces), SPEECH_RATE))


async def test_speech_has_a_speed(openai_client: Any) -> None:
    slow, fast = [
        await openai_client.audio.speech.create(
            model="tts-1", voice="alloy", input=ANSWER, response_format="pcm", speed=speed
        )
        for speed in (1.0, 2.0)
    ]
    assert len(fast.content) < 0.6 * len(slow.content)


async def test_models_are_listed(openai_client: Any) -> None:
    assert "gpt-4o-mini" in [model.id async for model in openai_client.models.list()]


async def test_what_is_no_json_is_refused(standins: StandIns) -> None:
    headers = {"Authorization": "Bearer key"}
    async with (
        aiohttp.ClientSession(standins.url, headers=headers) as session,
        session.post("/v1/chat/completions", data=b"{") as response,
    ):
        assert response.status == 400


async def test_a_revoked_key_is_refused(standins: StandIns) -> None:
    async with openai.AsyncOpenAI(base_url=f"{standins.url}/v1", api_key="revoked", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


@pytest.mark.parametrize("status", [401, 402, 403, 404, 429, 500, 503])
async def test_chat_can_be_refused(standins: StandIns, openai_client: Any, status: int) -> None:
    standins.steer(OPENAI_CHAT, Behaviour(fault=Fault.REFUSE, status=status, retry_after=7))
    with pytest.raises(openai.APIStatusError) as refused:
        await streamed(openai_client)
    assert refused.value.status_code == status
    assert refused.value.response.headers["retry-after"] == "7"


async def test_a_cut_is_a_broken_connection(standins: StandIns, openai_client: Any) -> None:
    standins.steer(OPENAI_CHAT, Behaviour(fault=Fault.CUT, after=3))
    with pytest.raises(openai.APIConnectionError):
        await streamed(openai_client)


async def test_an_early_end_is_clean(standins: StandIns, openai_client: Any) -> None:
    standins.steer(OPENAI_CHAT, Behaviour(fault=Fault.END, after=3))
    assert await streamed(openai_client) == "Point one of"


async def test_garbage_cannot_be_read(standins: StandIns, openai_client: Any) -> None:
    standins.steer(OPENAI_CHAT, Behaviour(fault=Fault.GARBAGE, after=3))
    with pytest.raises(ValueError, match="Unterminated"):
        await streamed(openai_client)


async def test_an_empty_answer_is_well_formed(standins: StandIns, openai_client: Any) -> None:
    standins.steer(OPENAI_CHAT, Behaviour(fault=Fault.EMPTY))
    assert await streamed(openai_client) == ""


@pytest.mark.parametrize("behaviour", [Behaviour(fault=Fault.STALL, after=3), Behaviour(fault=Fault.NEVER)])
async def test_a_stall_lasts_until_the_client_goes(
    standins: StandIns, openai_client: Any, behaviour: Behaviour
) -> None:
    standins.steer(OPENAI_CHAT, behaviour)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await streamed(openai_client)
    (recorded,) = standins.requests_to(OPENAI_CHAT)
    assert recorded.outcome is not Outcome.ANSWERED


async def test_a_client_that_goes_is_noticed(standins: StandIns, openai_client: Any) -> None:
    standins.steer(OPENAI_CHAT, Behaviour(each_ms=1000))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await streamed(openai_client)
    await standins.ended(OPENAI_CHAT, Outcome.CANCELLED)


async def test_a_voice_without_audio(standins: StandIns, openai_client: Any) -> None:
    standins.steer(OPENAI_SPEECH, Behaviour(fault=Fault.EMPTY))
    spoken = await openai_client.audio.speech.create(model="tts-1", voice="alloy", input="Hi.", response_format="pcm")
    assert spoken.content == b""


async def test_a_voice_that_is_silent(standins: StandIns, openai_client: Any) -> None:
    standins.steer(OPENAI_SPEECH, Behaviour(fault=Fault.SILENCE))
    spoken = await openai_client.audio.speech.create(model="tts-1", voice="alloy", input="Hi.", response_format="pcm")
    assert spoken.content and not spoken.content.strip(b"\0")
