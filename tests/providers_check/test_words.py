"""The voice that is spoken by word: which words arrived, whole or broken, from one voice or two."""

import base64
import json

import aiohttp
import pytest

from tests.providers.accounts import account
from tests.providers.standins import StandIns
from tests.providers.tones import encode_words, word_times, words
from tests.providers.ulaw import from_ulaw, to_ulaw

TEXT = "The ferry to the harbour leaves at nine, and the last one at midnight."


def heard(pcm: bytes, rate: int = 8000) -> list[str]:
    found = words(pcm, rate)
    assert all(one.complete for one in found)
    return list(account(TEXT, found).heard)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000])
def test_all_words_are_heard(rate: int) -> None:
    assert account(TEXT, words(encode_words(TEXT, rate), rate)).is_exact


@pytest.mark.parametrize("ms_per_char", [5, 60, 90])
def test_the_pace_does_not_matter(ms_per_char: float) -> None:
    assert heard(encode_words(TEXT, 8000, ms_per_char)) == TEXT.split()


def test_a_telephone_line_loses_none() -> None:
    assert heard(from_ulaw(to_ulaw(encode_words(TEXT, 8000)))) == TEXT.split()


def test_a_cut_anywhere_breaks_one_word_at_most() -> None:
    whole = encode_words(TEXT, 8000)
    for end in range(2000, len(whole), 6002):
        found = account(TEXT, words(whole[:end], 8000))
        assert list(found.heard) == TEXT.split()[: len(found.heard)]
        assert len(found.broken) <= 1 and not found.doubled and not found.strange


def test_another_voice_says_the_rest() -> None:
    """From the word that was cut off: it was begun twice and heard once."""
    at, _, ms = word_times(TEXT)[4]
    first = encode_words(TEXT, 8000)[: 16 * (ms + 200)]
    found = account(TEXT, words(first + encode_words(TEXT[at:], 8000), 8000))
    assert found.is_exact and found.broken == ("leaves",)


def test_lost_and_doubled_words_are_named() -> None:
    parts = ["The ferry to", "to the harbour leaves at", "and the last one at midnight."]
    found = account(TEXT, words(b"".join(encode_words(part, 8000) for part in parts), 8000))
    assert (found.lost, found.doubled, found.strange) == (("nine,",), ("to",), 0)


def test_strange_words_are_counted() -> None:
    found = account(TEXT, words(encode_words(f"Well. {TEXT}", 8000), 8000))
    assert (found.lost, found.doubled, found.strange) == ((), (), 1)


def test_times_are_where_the_words_end() -> None:
    found = words(encode_words(TEXT, 8000), 8000)
    ends = [(one.start + one.samples) / 8 for one in found]
    assert [TEXT[:at].split()[-1] for at, _, _ in word_times(TEXT)] == TEXT.split()
    assert ends == pytest.approx([ms for _, _, ms in word_times(TEXT)], abs=20)


async def test_an_alignment_tells_when_words_end() -> None:
    path = "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM/multi-stream-input?output_format=pcm_8000&sync_alignment=true"
    pcm = b""
    told: list[tuple[str, float, float]] = []
    async with (
        StandIns(by_word=True) as standins,
        aiohttp.ClientSession(headers={"xi-api-key": "key"}) as client,
        client.ws_connect(f"{standins.url}{path}") as socket,
    ):
        await socket.send_json({"text": TEXT, "context_id": "a", "flush": True})
        await socket.send_json({"context_id": "a", "close_context": True})
        while not (message := json.loads(await socket.receive_str())).get("isFinal"):
            if times := message["alignment"]:
                starts = [len(pcm) / 16 + start for start in times["charStartTimesMs"]]
                told += zip(times["chars"], starts, times["charDurationsMs"], strict=True)
            pcm += base64.b64decode(message["audio"])
    ends = [told[at - 1][1] + told[at - 1][2] for at, _, _ in word_times(TEXT)]
    assert "".join(char for char, _, _ in told) == TEXT and heard(pcm) == TEXT.split()
    assert ends == pytest.approx([end for _, _, end in word_times(TEXT)], abs=2)
